"""`mediator status`: a running mediator at a glance."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mediator.cli import options
from mediator.cli.client import MediatorClient, connect
from mediator.cli.failures import FAILED, NOT_NOW, Failure
from mediator.cli.output import AsJson, cell, fields, short, show, show_json, table
from mediator.cli.target import Target, find_target

app = typer.Typer(add_completion=False)
_PAUSE = 2.0
"""Seconds between two looks."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNKNOWN = "unknown: the store is away"
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
class _LastLook:
    """The last look."""

    code: int = 0
    things: list[RenderableType] = field(default_factory=list)

    async def look(self, mediator: MediatorClient, target: Target) -> RenderableType:
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
    last = _LastLook()
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(target, last))
    return last.code


async def _watch(target: Target, last: _LastLook) -> None:
    console = Console(markup=False, highlight=False)
    async with connect(target) as mediator:
        first = await last.look(mediator, target)
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            live.refresh()
            while True:
                await asyncio.sleep(_PAUSE)
                live.update(await last.look(mediator, target), refresh=True)


def glance(document: dict[str, Any], url: str) -> list[RenderableType]:
    """Everything, from the document of /v1/status."""
    rows: list[tuple[str, RenderableType]] = [
        ("mediator", cell(f"{document['version']} at {url}")),
        ("state", _state(document)),
        *((part, cell(reason, "red")) for part, reason in document["problems"].items()),
        ("up", cell(duration(document["uptime_seconds"]))),
        ("deliveries", _deliveries(document)),
        ("slots", cell(_slots(document["slots"]))),
        ("lately", cell(_recent(document["recent"]))),
        ("disk", cell("-" if document["free_bytes"] is None else size(document["free_bytes"]))),
    ]
    return [fields(rows), Text(), _scripts(document["scripts"])]


def _state(document: dict[str, Any]) -> Text:
    return cell("ready", "green") if document["ready"] else cell("not ready", "bold red")


def _deliveries(document: dict[str, Any]) -> Text:
    if document["pending"] is None:
        return cell(_UNKNOWN, "red")
    oldest = document["oldest_pending_seconds"]
    waits = "" if oldest is None else f" (the oldest for {duration(oldest)})"
    text = cell(f"{document['pending']} pending{waits}, {document['running']} running, ")
    return text.append_text(cell(f"{document['dead']} dead", "red" if document["dead"] else ""))


def _slots(slots: dict[str, Any]) -> str:
    return ", ".join(
        f"{calls} {found['running']} of {found['slots']}" for calls, found in slots.items()
    )


def _recent(recent: dict[str, Any]) -> str:
    seconds = recent["seconds"]
    rate = f" ({recent['accepted'] * 60 / seconds:.1f} a minute)" if seconds >= 1 else ""
    return (
        f"{recent['accepted']} accepted{rate}, {recent['attempts']} attempts,"
        f" {recent['failed']} failed, in {duration(seconds)}"
    )


def _scripts(scripts: list[dict[str, Any]]) -> Table:
    """A line for each script; OK and FAILED count attempts since the mediator started."""
    made = table("SCRIPT", "STATE", "OK", "FAILED", "LAST DEAD", "WHY", whole=("SCRIPT",))
    now = datetime.now(UTC)
    for script in scripts:
        dead = script["last_dead"]
        made.add_row(
            cell(script["name"]),
            cell("ready", "green") if script["ready"] else cell("not ready", "red"),
            cell(script["succeeded"]),
            cell(script["failed"], "yellow" if script["failed"] else ""),
            cell("-" if dead is None else short(dead["ended"], now=now)),
            cell(script["problem"] or ("" if dead is None else dead["reason"])),
        )
    return made


def duration(seconds: float) -> str:
    """The two largest units of it, such as `3d 4h`."""
    whole = timedelta(seconds=int(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    parts = [(whole.days, "d"), (hours, "h"), (rest // 60, "m"), (rest % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count}{unit}" for count, unit in parts[:2])


def size(count: int) -> str:
    """Bytes as a person reads them, such as `12.3 GiB free`."""
    value, units = float(count), list(_UNITS)
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]} free" if units[0] != "B" else f"{count} B free"
