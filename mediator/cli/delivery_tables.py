"""Deliveries as a person reads them: many as lines, one whole."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mediator.cli.moments import exact, short
from mediator.cli.printing import block, cell, fields, table
from mediator.model.visible import visible

_STYLES = {
    "pending": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "dead": "bold red",
    "cancelled": "dim",
}
_COLUMNS = (
    "ID",
    "RECEIVED",
    "STATE",
    "SCRIPT",
    "EVENT",
    "TICKET",
    "SUBJECT",
    "TRIED",
    "LAST ERROR",
)


COMFORTABLE = 140
"""Columns of a terminal that a line for each delivery needs."""


def listing(items: Sequence[dict[str, Any]], *, now: datetime) -> Iterator[RenderableType]:
    """A line for each delivery."""
    made = table(*_COLUMNS, whole=_COLUMNS[:6], cut=("SUBJECT", "LAST ERROR"))
    for item in items:
        ticket = item["ticket"]
        made.add_row(
            cell(item["id"]),
            cell(short(item["received"], now=now)),
            _state(item),
            cell(item["script"]),
            cell(item["event"] or "-"),
            cell(ticket["id"] or "-"),
            cell(ticket["subject"] or "-"),
            cell(item["attempts_made"]),
            cell(_last_error(item)),
        )
    yield made


def stacked(items: Sequence[dict[str, Any]], *, now: datetime) -> Iterator[RenderableType]:
    """The same for a narrow terminal: two or three lines for each delivery."""
    for item in items:
        ticket = item["ticket"]
        received = short(item["received"], now=now)
        about = (item["script"], item["event"], ticket["id"], ticket["subject"])
        yield cell(item["id"]).append_text(cell(f"  {received}  ")).append_text(_state(item))
        yield cell("  " + "  ".join(visible(text or "-") for text in about))
        if _last_error(item):
            yield cell(f"  {item['attempts_made']} tried: {_last_error(item)}")


def _last_error(item: dict[str, Any]) -> str:
    return "" if item["state"] == "succeeded" else str(item["last_error"])


def whole(item: dict[str, Any]) -> Iterator[RenderableType]:
    """Everything about one delivery, and what its attempts printed."""
    ticket = item["ticket"]
    yield fields(
        [
            ("delivery", cell(item["id"])),
            ("state", _state(item)),
            ("script", cell(item["script"])),
            ("event", cell(item["event"] or "-")),
            ("arguments", cell(shlex.join(item["arguments"]) or "-")),
            ("interactive", cell("yes" if item["interactive"] else "no")),
            *((f"ticket {key}", cell(value)) for key, value in ticket.items() if value is not None),
            ("key", cell(item["key"])),
            ("received", cell(exact(item["received"]))),
            ("due", cell(exact(item["due"]))),
            ("ended", cell(exact(item["ended"]))),
            ("attempts", cell(item["attempts_made"])),
            ("last error", cell(item["last_error"] or "-")),
        ]
    )
    for attempt in item["attempts"]:
        yield from _attempt(attempt)


def _attempt(attempt: dict[str, Any]) -> Iterator[RenderableType]:
    yield Text(visible(f"\nattempt {attempt['number']}: {_ending(attempt)}", keep="\n"), "bold")
    yield fields(
        [
            ("started", cell(exact(attempt["started"]))),
            ("ended", cell(exact(attempt["ended"]))),
            *((("reason", cell(attempt["reason"])),) if attempt["reason"] else ()),
        ]
    )
    for name in ("stdout", "stderr"):
        text, size = attempt[name] or "", attempt[f"{name}_bytes"] or 0
        yield Text(f"{name}, {size} bytes" + (":" if text else ""), "bold")
        if text:
            yield block(text.removesuffix("\n"))


def _ending(attempt: dict[str, Any]) -> str:
    if attempt["outcome"] is None:
        return "running"
    parts = [str(attempt["outcome"])]
    if attempt["exit_code"] is not None:
        parts.append(f"exit code {attempt['exit_code']}")
    if attempt["signal"] is not None:
        parts.append(f"signal {attempt['signal']}")
    return ", ".join(parts)


def _state(item: dict[str, Any]) -> Text:
    return cell(item["state"], _STYLES.get(item["state"], ""))
