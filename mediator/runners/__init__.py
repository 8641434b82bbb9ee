"""Runners run one attempt of a script and report how it ended."""

__all__ = ["factory", "kubernetes", "output", "port", "prefork", "process"]
