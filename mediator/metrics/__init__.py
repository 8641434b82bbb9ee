"""What the mediator counts, one module for each question; `Metrics` is all that others need."""

from mediator.metrics.metrics import Metrics

__all__ = ["Metrics"]
