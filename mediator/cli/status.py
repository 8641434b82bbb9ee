"""`mediator status`: a running mediator at a glance."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live

from mediator.cli import options
from mediator.cli.client import Connection, connect
from mediator.cli.failures import FAILED, NOT_NOW, Failure
from mediator.cli.printing import AsJson, cell, show, show_json
from mediator.cli.status_tables import glance
from mediator.cli.target import Target, find_target

app = typer.Typer(add_completion=False)
_PAUSE = 2.0
"""Seconds between two looks."""
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Look again every two seconds, until Ctrl-C.")
]


@app.command(epilog="Examples: mediator status; mediator status --watch; mediator status --json")
def status(
    *,
    watch: Watch = False,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """Show a running mediator at a glance, and whether it is ready.

    The exit code is 0 when it can take and do work, 1 when it cannot, and 75
    when it cannot be reached. --watch redraws on a terminal; elsewhere it
    prints once. After Ctrl-C the exit code is that of the last look.
    """
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    if watch and not as_json and sys.stdout.isatty():
        raise typer.Exit(_watched(target))
    document = asyncio.run(_once(target))
    if as_json:
        show_json(document)
    else:
        show(*glance(document, target.url))
    raise typer.Exit(_code(document))


def _code(document: dict[str, Any]) -> int:
    return 0 if document["ready"] else FAILED


async def _once(target: Target) -> dict[str, Any]:
    async with connect(target) as mediator:
        return await mediator.get("/v1/status")


@dataclass(kw_only=True, slots=True)
class _Seen:
    """The last look."""

    code: int = 0
    things: list[RenderableType] = field(default_factory=list)

    async def look(self, mediator: Connection, target: Target) -> RenderableType:
        """What there is to see now. Raises `Failure` at the first look, and when refused."""
        try:
            document = await mediator.get("/v1/status")
        except Failure as error:
            if not self.things or error.exit_code != NOT_NOW:
                raise
            self.code = NOT_NOW
            return Group(*self.things, cell(f"\n{error}", "bold red"))
        self.code, self.things = _code(document), glance(document, target.url)
        return Group(*self.things)


def _watched(target: Target) -> int:
    seen = _Seen()
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(target, seen))
    return seen.code


async def _watch(target: Target, seen: _Seen) -> None:
    console = Console(markup=False, highlight=False)
    async with connect(target) as mediator:
        first = await seen.look(mediator, target)
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            live.refresh()
            while True:
                await asyncio.sleep(_PAUSE)
                live.update(await seen.look(mediator, target), refresh=True)
