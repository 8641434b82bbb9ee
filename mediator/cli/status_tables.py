"""What `mediator status` shows: the mediator's own lines, then a line for each script."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mediator.cli.moments import short
from mediator.cli.printing import cell, fields, table

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNKNOWN = "unknown: the store is away"


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
