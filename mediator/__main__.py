"""`python -m mediator` is the `mediator` command."""

from mediator.cli.main import main

main()
