"""One dialect of Kubernetes: client, watch, access review, exec, log."""

__all__ = ["access", "client", "exec", "log", "watch"]
