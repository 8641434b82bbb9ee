"""Packages that scripts depend on, installed ahead of time by uv."""

__all__ = ["builder", "uv"]
