"""The kubernetes runner: an attempt is a Job, which outlives the mediator that made it."""

__all__ = ["runner"]
