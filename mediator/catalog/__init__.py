"""The scripts directory, read into scripts with policies."""

__all__ = ["environments", "files", "interpreter", "live", "loader", "script", "script_file"]
