"""Where a delivery's work belongs in a larger trace, and the spans that tell of it."""

__all__ = ["context", "otlp", "spans"]
