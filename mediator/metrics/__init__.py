"""What the mediator counts, one module for each question; `Metrics` is all that others need."""

from mediator.metrics.registry import Metrics

__all__ = ["Metrics"]
