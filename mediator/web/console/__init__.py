"""The console: pages for people who look and operate, without JavaScript if need be."""

__all__ = ["app"]
