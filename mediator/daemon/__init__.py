"""The composition root: picks the parts, starts them, stops them in reverse."""

__all__ = ["daemon"]
