"""The HTTP side: intake, operator API, health and metrics."""

__all__ = ["app", "backpressure", "intake", "middleware", "request", "services"]
