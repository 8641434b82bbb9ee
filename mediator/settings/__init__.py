"""The settings tree and how it is read."""
