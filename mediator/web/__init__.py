"""The HTTP side: intake, operator API, health and metrics."""
