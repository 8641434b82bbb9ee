"""Claims due deliveries, has them run, records what happened."""

__all__ = ["attempt", "dispatcher", "environment", "retention", "retry", "slots"]
