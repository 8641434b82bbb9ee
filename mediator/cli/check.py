"""`mediator check`: says whether `serve` would start and every script run."""

from __future__ import annotations

import typer

from mediator.catalog.directory import ScriptsDirectory
from mediator.cli.options import Config, settings
from mediator.settings.secrets import read_secrets


def check(config: Config = None) -> None:
    """Check the settings, the secrets and the scripts; exit 0 when all is well."""
    loaded = settings(config)
    read_secrets(loaded.auth)
    catalog = ScriptsDirectory(settings=loaded).load()
    for script in catalog.scripts.values():
        print(f"{script.name}: {script.problem or 'ready'}")  # noqa: T201 - the command's output
    for warning in catalog.warnings:
        print(f"warning: {warning}")  # noqa: T201 - the command's output
    if not all(script.ready for script in catalog.scripts.values()):
        raise typer.Exit(1)
