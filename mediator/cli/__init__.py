"""The `mediator` command."""
