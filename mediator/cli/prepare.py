"""`mediator prepare`: environments of the scripts, built before anything needs them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mediator.catalog.environments.builder import Builder, BuildReport, builder, prepare
from mediator.catalog.environments.uv import Uv
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Catalog
from mediator.cli.failures import FAILED
from mediator.cli.options import Config, settings
from mediator.cli.output import AsJson, cell, show, show_json, table
from mediator.settings.schema import Settings

app = typer.Typer(add_completion=False)
Prune = Annotated[
    bool, typer.Option("--prune", help="Remove environments that none of these scripts needs.")
]


@app.command(name="prepare", epilog="Example: mediator prepare --config mediator.yaml")
def prepare_(*, prune: Prune = False, config: Config = None, as_json: AsJson = False) -> None:
    """Build the environments of scripts with dependencies.

    For the build of an image, or an init container: the mediator then starts
    with everything there, also without a network. Needs no secrets and no
    running mediator. Exits with 1 when one could not be built.
    """
    loaded = settings(config)
    catalog = ScriptsDirectory(settings=loaded).load()
    made = asyncio.run(prepare(catalog.scripts.values(), builder_of(loaded)))
    removed = pruned(made, builder_of(loaded)) if prune else []
    if as_json:
        show_json(_document(made, removed))
    else:
        show(listing(made, catalog))
        if prune:
            show(cell(f"{len(removed)} environments that nothing here needs were removed"))
    raise typer.Exit(FAILED if any(one.problem for one in made) else 0)


def builder_of(loaded: Settings) -> Builder:
    """The builder of environments by the settings, with this process's variables."""
    return builder(Uv(settings=loaded.environments, environ=os.environ))


def pruned(made: Sequence[BuildReport], from_: Builder) -> list[str]:
    """Remove all others; the keys of those that were there."""
    keep = {one.key for one in made}
    return sorted(from_.cache.evict(keep=keep, unused_for=timedelta(0)))


def listing(made: Sequence[BuildReport], catalog: Catalog) -> Table:
    """A line for each environment."""
    rows = table("SCRIPTS", "STATE", "DETAIL", whole=("STATE",))
    for one in made:
        rows.add_row(cell(", ".join(one.scripts)), _state(one), cell(_detail(one)))
    if not made:
        rows.add_row(
            cell(f"none of {len(catalog.scripts)} needs one"), cell("ok", "green"), cell("")
        )
    return rows


def _state(one: BuildReport) -> Text:
    if one.problem:
        return cell("failed", "bold red")
    return cell("built" if one.built else "ok", "green")


def _detail(one: BuildReport) -> str:
    if one.problem:
        return one.problem
    took = f" in {one.seconds:.1f} s" if one.built else ""
    return f"{', '.join(one.requirements) or 'no packages'}{took}"


def _document(made: Sequence[BuildReport], removed: Sequence[str]) -> dict[str, object]:
    items = [
        {
            "scripts": list(one.scripts),
            "requirements": list(one.requirements),
            "key": one.key,
            "built": one.built,
            "problem": one.problem,
            "seconds": round(one.seconds, 3),
        }
        for one in made
    ]
    return {"items": items, "next": None, "removed": list(removed)}
