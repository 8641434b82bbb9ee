"""Deliveries as they come and change, and one of them as its script writes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from mediator.cli.client import Connection, connect
from mediator.cli.failures import NOT_NOW, USAGE, Failure, Refused
from mediator.cli.moments import short
from mediator.cli.printing import say, show_line
from mediator.cli.target import Target
from mediator.model.visible import visible

_PAUSE = 1.0
"""Seconds between two looks at the list."""
LARGEST_PAGE = 500
"""What the operator API gives at once; changes of older deliveries are not seen."""


async def follow_list(
    target: Target, query: Mapping[str, str], *, limit: int, as_json: bool
) -> None:
    """Print the latest deliveries, then each new one and each change, until interrupted.

    A mediator that cannot be reached for a while, such as one that is started again, is waited for.
    """
    seen = _Seen()
    size = min(limit, LARGEST_PAGE)
    async with connect(target) as mediator:
        while True:
            items = await _page(mediator, query, size, patient=bool(seen.looks))
            for item in seen.news(items):
                _tell(item, as_json=as_json)
            size = LARGEST_PAGE
            await asyncio.sleep(_PAUSE)


@dataclass(kw_only=True, slots=True)
class _Seen:
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


async def _page(
    mediator: Connection, query: Mapping[str, str], size: int, *, patient: bool
) -> list[dict[str, Any]]:
    complained = False
    while True:
        try:
            found = await mediator.get("/v1/deliveries", {**query, "limit": str(size)})
        except Refused as error:
            if error.answered == 400:  # every value of the query is one of an option
                raise Failure(str(error), exit_code=USAGE) from error
            raise
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


def _tell(item: dict[str, Any], *, as_json: bool) -> None:
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
    path = f"/v1/deliveries/{quote(delivery_id, safe='')}/output?follow"
    async with connect(target) as mediator, aclosing(mediator.events(path)) as events:
        async for name, data in events:
            if as_json:
                show_line({"event": name, "data": data})
            else:
                _pass_on(name, data)
            if name == "end":
                return
    raise Failure(
        f"the mediator ended the connection before the delivery {delivery_id} had ended: it may be"
        " going down. The delivery is kept; follow it again.",
        exit_code=NOT_NOW,
    )


def _pass_on(name: str, data: dict[str, Any]) -> None:
    """Outputs to the streams they were written to; everything else is told on stderr."""
    if name in {"stdout", "stderr"}:
        stream = sys.stdout if name == "stdout" else sys.stderr
        print(visible(data["text"], keep="\n\t"), end="", file=stream, flush=True)
    elif name == "attempt":
        say(f"attempt {data['number']}: {_ending(data)}")
    elif name == "gap":
        say(f"attempt {data['attempt']}: {data['bytes']} bytes were missed here")
    elif name == "end":
        say(f"the delivery is {data['state']}")


def _ending(data: dict[str, Any]) -> str:
    if data["outcome"] is None:
        return "running"
    code = "" if data["exit_code"] is None else f", exit code {data['exit_code']}"
    return f"{data['outcome']}{code}" + (f": {data['reason']}" if data["reason"] else "")
