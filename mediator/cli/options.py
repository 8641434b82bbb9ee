"""Options that several commands share, and how settings are found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mediator.settings.loading import load
from mediator.settings.tree import Settings

DEFAULT_FILE = Path("mediator.yaml")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="MEDIATOR_CONFIG",
        help="Settings file; by default mediator.yaml where you are, if it is there.",
        show_default=False,
    ),
]


def settings(config: Path | None) -> Settings:
    """The settings of the file, the environment and the defaults. Raises `SettingsError`."""
    if config is None and DEFAULT_FILE.exists():
        config = DEFAULT_FILE
    return load(config, os.environ)
