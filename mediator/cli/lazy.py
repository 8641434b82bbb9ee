"""Commands whose modules are imported when they are called.

The daemon's libraries take most of a second to import, and `mediator --help` needs none of them.
A command module has an `app`, holds whatever it imports at its top, and is named in a table with
the one line that the list of commands shows.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command


class LazyCommand(TyperCommand):
    """Stands in for a command, or a group of them, until it is called."""

    def __init__(self, name: str, *, module: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self.module = module

    def load(self) -> Any:
        """The command itself."""
        app: typer.Typer = importlib.import_module(self.module).app
        return get_command(app)

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Hand everything to the command itself; typer then goes on with the context's command."""
        return self.load().make_context(info_name, args, parent=parent, **extra)
