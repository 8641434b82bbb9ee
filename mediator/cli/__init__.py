"""The `mediator` command."""

__all__ = ["main"]
