"""Where deliveries live: one port, SQL statements behind it, and the history of the schema."""

__all__ = ["backup", "factory", "interface"]
