"""Options that several commands share, and what they mean: settings, a script, a call, a ticket."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

import typer

from mediator.cli.failures import FAILED, Failure
from mediator.settings.load import load
from mediator.settings.schema import Settings

if TYPE_CHECKING:  # most commands need no catalog, and start sooner without
    from mediator.catalog.script import Catalog, Script

DEFAULT_FILE = Path("mediator.yaml")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="MEDIATOR_CONFIG",
        help="Settings file; by default mediator.yaml where you are, if it is there.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="MEDIATOR_URL",
        help="Where the mediator is; by default http.host and http.port of the settings file.",
        show_default=False,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="MEDIATOR_TOKEN_FILE",
        help="File with a bearer token; by default the first operator's of the settings file.",
        show_default=False,
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        envvar="MEDIATOR_CA_FILE",
        help="Certificates to trust for https; by default the system's.",
        show_default=False,
    ),
]
ScriptName = Annotated[
    str, typer.Argument(metavar="SCRIPT", help="Its file name, or the name without suffix.")
]
TicketFile = Annotated[
    str | None,
    typer.Option(
        "--ticket",
        metavar="FILE",
        help="File with the ticket, or - for standard input; by default an empty body.",
        show_default=False,
    ),
]
Event = Annotated[
    str,
    typer.Option("--event", metavar="EVENT", help="Value of SCW_EVENT; an empty one is not set."),
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        metavar="SCW_NAME=VALUE",
        help="A further SCW_* variable; as often as needed.",
        show_default=False,
    ),
]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- ARGS", help="Arguments of the script.", show_default=False),
]


def settings_file(config: Path | None) -> Path | None:
    """The settings file in force, or None for none at all."""
    return DEFAULT_FILE if config is None and DEFAULT_FILE.exists() else config


def settings(config: Path | None) -> Settings:
    """The settings of the file, the environment and the defaults. Raises `SettingsError`."""
    return load(settings_file(config), os.environ)


def script_named(catalog: Catalog, name: str) -> Script:
    """The script of that name, or of that path in the scripts directory. Raises `NotFound`."""
    path = Path(name)
    if "/" in name and path.parent.resolve() == catalog.directory.resolve():
        name = path.name  # as the shell completes it
    return catalog.find(name)


def query_of(event: str, variables: Sequence[str] | None, arguments: Sequence[str] | None) -> str:
    """The query string of the hand-over, as the shim makes it.

    What is in the variables is left to whoever reads the query. Raises `typer.BadParameter` for a
    variable that is not NAME=VALUE.
    """
    pairs = [("SCW_EVENT", event)] if event else []
    for variable in variables or ():
        name, sign, value = variable.partition("=")
        if not sign or not name.startswith("SCW_"):
            raise typer.BadParameter(f"{variable} is not SCW_NAME=VALUE", param_hint="--var")
        pairs.append((name, value))
    pairs += [("arg", argument) for argument in arguments or ()]
    # Arguments that are not UTF-8 are surrogates here, and bytes again on the way.
    return urlencode(pairs, quote_via=quote, errors="surrogateescape")


def read_ticket_file(name: str | None) -> bytes:
    """The bytes of a file, of standard input for `-`, or none at all for None."""
    if name is None:
        return b""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        message = f"--ticket: {name} cannot be read ({error.strerror})."
        raise Failure(message, exit_code=FAILED) from error
