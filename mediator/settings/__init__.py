"""The settings tree and how it is read."""

__all__ = ["explain", "kubernetes", "load", "schema", "secrets", "store_url"]
