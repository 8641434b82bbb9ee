"""The command line: one module a command, errors as one line each, honest exit codes."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import mediator
from mediator.cli.failures import USAGE, exit_code_of
from mediator.errors import MediatorError

_CLICK_USAGE = 2  # what typer gives every error in how a command was written
_INTERRUPTED = 130  # 128 and SIGINT, as shells tell it
COMMANDS = (
    ("serve", "mediator.cli.serve", "Run the mediator until SIGTERM or Ctrl-C."),
    ("check", "mediator.cli.check", "Check the settings, the secrets and the scripts."),
    ("prepare", "mediator.cli.prepare", "Build the environments of scripts with dependencies."),
    ("new", "mediator.cli.new", "Write a script that works, and a ticket to try it on."),
    ("run", "mediator.cli.run", "Run a script once, here, as the mediator would."),
    ("watch", "mediator.cli.watch", "Run a script as run does, and again whenever it is saved."),
    ("send", "mediator.cli.send", "Hand a ticket to a running mediator, as the shim would."),
    ("status", "mediator.cli.status", "Show a running mediator at a glance, and its readiness."),
    ("health", "mediator.cli.health", "Say whether the mediator here is ready, without a token."),
    ("scripts", "mediator.cli.scripts", "List the scripts of a running mediator, or show one."),
    ("deliveries", "mediator.cli.deliveries", "List, show, retry and cancel deliveries."),
    ("routes", "mediator.cli.routes", "Explain which scripts an event goes to."),
    ("shim", "mediator.cli.shim", "Make the files that go into the SecureChange pod."),
    ("migrate", "mediator.cli.migrate", "Bring the store's schema up to date."),
    ("backup", "mediator.cli.backup", "Copy the store to a file, also while the mediator runs."),
    ("new-key", "mediator.cli.new_key", "Make the secret of a key or a token."),
)
"""Name, module, and the line in the list of commands."""


class _Commands(TyperGroup):
    """The commands, none of them imported yet."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, module, summary in COMMANDS:
            self.add_command(LazyCommand(name, module=module, summary=summary))


app = typer.Typer(
    name="mediator",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Exit codes and examples: docs/reference/cli.md, and --help of each command.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(mediator.__version__)  # noqa: T201 - this is the command's output
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Carry SecureChange ticket events out of TOS Aurora, run their scripts, and lose none.

    serve is the daemon. check, run and send help to set it up and to write
    scripts. scripts and deliveries ask a running mediator, which they find by
    --url and --token-file, or by its settings file on the same machine.
    """
    del version


def main() -> None:
    """Run the command; an error of ours is lines on stderr and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A ticket's subject must not fail a command only because the terminal is not UTF-8.
            stream.reconfigure(errors="backslashreplace")
    raise SystemExit(_run())


def _run() -> int:
    try:
        code = get_command(app)(prog_name="mediator", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _nobody_reads()
    except typer.Abort:
        return _INTERRUPTED
    except typer.TyperException as error:
        return _misused(error)
    except MediatorError as error:
        for line in str(error).splitlines():
            print(f"mediator: {line}", file=sys.stderr)  # noqa: T201 - the command's own voice
        return exit_code_of(error)
    return code if isinstance(code, int) else 0


def _misused(error: typer.TyperException) -> int:
    """How the command was written is wrong: typer's explanation, and the exit code of our own."""
    show = getattr(error, "show", None)
    if show is None:
        print(f"mediator: {error.message}", file=sys.stderr)  # noqa: T201 - the command's own voice
    elif error.format_message().strip():  # without one the help has already been printed instead
        show()
    return USAGE if error.exit_code == _CLICK_USAGE else error.exit_code


def _nobody_reads() -> int:
    """As `| head` wants it: silently. What is still buffered goes nowhere at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


class LazyCommand(TyperCommand):
    """Stands in for a command, or a group of them, until it is called."""

    def __init__(self, name: str, *, module: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self.module = module

    def load(self) -> Any:
        """The command itself."""
        gc.disable()  # imports make objects that stay: to look for garbage takes an eighth of them
        try:
            app: typer.Typer = importlib.import_module(self.module).app
        finally:
            gc.enable()
        return get_command(app)

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Hand everything to the command itself; typer then goes on with the context's command."""
        return self.load().make_context(info_name, args, parent=parent, **extra)
