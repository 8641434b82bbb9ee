"""Options that several commands share, and how settings are found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mediator.settings.load import load
from mediator.settings.schema import Settings

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
