"""The scripts directory, read into scripts with policies."""
