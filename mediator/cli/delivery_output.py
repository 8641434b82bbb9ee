"""Deliveries as a person reads them: many as lines, one whole, and both as they change."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mediator.cli.client import LARGEST_PAGE, MediatorClient, connect, delivery_path, find_page
from mediator.cli.failures import NOT_NOW, Failure
from mediator.cli.output import block, cell, exact, fields, say, short, show_line, table
from mediator.cli.target import Target
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
_PAUSE = 1.0
"""Seconds between two looks at the list."""


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


async def follow_list(
    target: Target, query: Mapping[str, str], *, limit: int, as_json: bool
) -> None:
    """Print the latest deliveries, then each new one and each change, until interrupted.

    A mediator that cannot be reached for a while, such as one that is started again, is waited for.
    """
    printed = _Printed()
    size = min(limit, LARGEST_PAGE)
    async with connect(target) as mediator:
        while True:
            items = await _newest(mediator, query, size, patient=bool(printed.looks))
            for item in printed.news(items):
                _print_line(item, as_json=as_json)
            size = LARGEST_PAGE
            await asyncio.sleep(_PAUSE)


@dataclass(kw_only=True, slots=True)
class _Printed:
    """What was printed of which delivery."""

    looks: int = 0
    _known: dict[str, object] = field(default_factory=dict)
    _oldest: str = ""

    def news(self, items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """What is new or has changed, the oldest first.

        Of what was there before the first look only so much was asked for: the rest is not new.
        """
        self.looks += 1
        if self.looks == 1 and items:
            self._oldest = items[-1]["received"]
        for item in reversed(items):
            now = (item["state"], item["attempts_made"], item["last_error"])
            if item["received"] >= self._oldest and self._known.get(item["id"]) != now:
                self._known[item["id"]] = now
                yield item


async def _newest(
    mediator: MediatorClient, query: Mapping[str, str], size: int, *, patient: bool
) -> list[dict[str, Any]]:
    complained = False
    while True:
        try:
            found = await find_page(mediator, query, size)
        except Failure as error:
            if not patient or error.exit_code != NOT_NOW:
                raise
            if not complained:
                say(f"{error} Trying again until it can be.")
            complained = True
            await asyncio.sleep(_PAUSE)
        else:
            items: list[dict[str, Any]] = found["items"]
            return items


def _print_line(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_line(item)
        return
    at = item["ended"] or item["received"]
    words = [
        short(at, now=datetime.now(UTC)),
        f"{item['state']:<9}",
        item["id"],
        item["script"],
        item["event"] or "-",
        item["ticket"]["id"] or "-",
    ]
    if item["attempts_made"] > 1 or item["state"] == "pending":
        words.append(f"tried {item['attempts_made']}")
    if item["last_error"] and item["state"] != "succeeded":
        words.append(item["last_error"])
    print(visible("  ".join(str(word) for word in words)), flush=True)  # noqa: T201 - the output


async def follow_output(target: Target, delivery_id: str, *, as_json: bool) -> None:
    """Print what the script writes until the delivery has ended.

    Raises `Failure` when the mediator stops before that.
    """
    path = f"{delivery_path(delivery_id)}/output?follow"
    async with connect(target) as mediator, aclosing(mediator.events(path)) as events:
        async for name, data in events:
            if as_json:
                show_line({"event": name, "data": data})
            else:
                _print_event(name, data)
            if name == "end":
                return
    raise Failure(
        f"the mediator ended the connection before the delivery {delivery_id} had ended: it may be"
        " going down. The delivery is kept; follow it again.",
        exit_code=NOT_NOW,
    )


def _print_event(name: str, data: dict[str, Any]) -> None:
    """Outputs to the streams they were written to; everything else is told on stderr."""
    if name in {"stdout", "stderr"}:
        stream = sys.stdout if name == "stdout" else sys.stderr
        print(visible(data["text"], keep="\n\t"), end="", file=stream, flush=True)
    elif name == "attempt":
        say(f"attempt {data['number']}: {_outcome(data)}")
    elif name == "gap":
        say(f"attempt {data['attempt']}: {data['bytes']} bytes were missed here")
    elif name == "end":
        say(f"the delivery is {data['state']}")


def _outcome(data: dict[str, Any]) -> str:
    if data["outcome"] is None:
        return "running"
    code = "" if data["exit_code"] is None else f", exit code {data['exit_code']}"
    return f"{data['outcome']}{code}" + (f": {data['reason']}" if data["reason"] else "")
