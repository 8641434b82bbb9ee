"""What the mediator counts, one module for each question; `Metrics` is all of them."""

from mediator.metrics.registry import Metrics

__all__ = ["Metrics", "keeper", "recent", "system"]
