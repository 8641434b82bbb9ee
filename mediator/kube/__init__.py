"""One dialect of Kubernetes: client, watch, access review, exec."""
