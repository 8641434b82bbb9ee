"""The pages about scripts: whether they can run, how they did lately, where an event goes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from mediator.catalog.script import Script
from mediator.model.delivery import Delivery, State
from mediator.model.routing import Explanation, explain, scripts_of
from mediator.model.ticket import Ticket
from mediator.storage.interface import Search
from mediator.web.console.charts import Bar, sparkline
from mediator.web.console.rendering import change_token_of, page
from mediator.web.console.views import EVENTS
from mediator.web.schemas import script_document
from mediator.web.services import SERVICES

LATELY = 20
"""Deliveries of a script that are looked at."""
_LISTED = 10
"""Of those so many are in the table of a script's own page."""
_HEIGHT = 16.0
_ASKED = ("event", "workflow", "step", "priority", "subject")
"""What can be said of an event, to see where it would go."""


async def show_scripts(request: web.Request) -> web.Response:
    """All scripts."""
    services, change_token = request.app[SERVICES], await change_token_of(request)
    catalog = services.scripts.catalog
    recent = await services.store.recent(list(catalog.scripts), most=LATELY)
    return await page(
        request,
        "scripts",
        change_token=change_token,
        rows=[
            (script, Record(deliveries=recent[name])) for name, script in catalog.scripts.items()
        ],
        directory=str(catalog.directory),
        problem=catalog.problem,
        warnings=catalog.warnings,
        room=LATELY,
        height=_HEIGHT,
    )


async def show_script(request: web.Request) -> web.Response:
    """One script, its policy and its latest deliveries."""
    services, change_token = request.app[SERVICES], await change_token_of(request)
    script = services.scripts.catalog.find(request.match_info["name"])
    deliveries = await services.store.search(Search(script=script.name, limit=LATELY))
    return await page(
        request,
        "script",
        change_token=change_token,
        script=script,
        record=Record(deliveries=deliveries),
        listed=_LISTED,
        policy=list(_policy(script)),
        room=LATELY,
        height=_HEIGHT,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """How the latest deliveries of a script went."""

    deliveries: Sequence[Delivery]
    """newest first"""

    @property
    def ended(self) -> int:
        """How many of them have ended and were not cancelled."""
        return sum(d.state in {State.SUCCEEDED, State.DEAD} for d in self.deliveries)

    @property
    def succeeded(self) -> int:
        """How many of those succeeded."""
        return sum(d.state is State.SUCCEEDED for d in self.deliveries)

    @property
    def rate(self) -> str:
        """The share of those, for people."""
        return f"{self.succeeded / self.ended:.0%}" if self.ended else "none ended yet"

    @property
    def bars(self) -> list[Bar]:
        """A small chart."""
        return sparkline(self.deliveries, room=LATELY, height=_HEIGHT)


def _policy(script: Script) -> Iterator[tuple[str, str]]:
    """Every policy key with its value in force, nested ones with dots."""
    yield from _flat(script_document(script).policy, "")


def _flat(values: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", _value(value)


def _value(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, sorted(value, key=str)))
    return value if isinstance(value, str) else json.dumps(value)


async def show_routes(request: web.Request) -> web.Response:
    """The rows of `routes` in the settings, held against an event when one is asked about."""
    services = request.app[SERVICES]
    asked = {name: request.query.get(name, "").strip() for name in _ASKED}
    explained: list[Explanation] = []
    if asked["event"]:
        ticket = Ticket(
            step=asked["step"] or None,
            priority=asked["priority"] or None,
            subject=asked["subject"] or None,
        )
        arguments = (asked["workflow"],) if asked["workflow"] else ()
        explained = explain(
            services.routes, event=asked["event"], arguments=arguments, ticket=ticket
        )
    return await page(
        request,
        "routes",
        routes=services.routes,
        asked=asked,
        explained=explained,
        goes_to=scripts_of(explained),
        events=EVENTS,
        scripts=services.scripts.catalog.scripts,
    )
