"""The shim's keeper: the shim's files in the SecureChange pod, compared and put back.

A pod of TOS Aurora forgets what was put into it when its container starts again. The keeper finds
the pods, runs a program of bash in them through the Kubernetes API, and needs nothing else there.
"""

__all__ = ["page", "pods", "protocol", "sync", "watch"]
