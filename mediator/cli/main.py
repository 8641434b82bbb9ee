"""The command line: one module a command, errors as one line each, honest exit codes."""

from __future__ import annotations

import sys

import typer

import mediator
from mediator.cli import check, new_key, serve
from mediator.errors import MediatorError, SettingsError

EX_CONFIG = 78
"""sysexits.h: the settings are wrong"""

app = typer.Typer(
    name="mediator",
    help="Carries SecureChange ticket events out of TOS Aurora and runs their scripts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("new-key")(new_key.new_key)


@app.callback(invoke_without_command=True)
def _root(
    *,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        print(mediator.__version__)  # noqa: T201 - this is the command's output
        raise typer.Exit


def main() -> None:
    """Run the command; an error of ours is lines on stderr and an exit code, never a traceback."""
    try:
        app()
    except MediatorError as error:
        for line in str(error).splitlines():
            print(f"mediator: {line}", file=sys.stderr)  # noqa: T201 - the command's own voice
        raise SystemExit(EX_CONFIG if isinstance(error, SettingsError) else 1) from None
