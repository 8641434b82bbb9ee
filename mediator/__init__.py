"""Carries SecureChange ticket events out of TOS Aurora and runs their scripts, losing none."""

__version__ = "0.1.0"
