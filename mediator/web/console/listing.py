"""The list of deliveries, and its filters."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiDict

from mediator.errors import BadRequest
from mediator.model.deliveries import State
from mediator.storage.port import Search
from mediator.web.console.browsing import Found, browse
from mediator.web.console.guarding import ROOT
from mediator.web.console.pages import page, pulse_of
from mediator.web.searching import read_search
from mediator.web.services import SERVICES

_FILTERS = ("script", "event", "state", "ticket", "since", "until")
EVENTS = (
    "CREATE",
    "ADVANCE",
    "REDO",
    "RESUBMIT",
    "REOPEN",
    "RESOLVE",
    "CLOSE",
    "CANCEL",
    "REJECT",
    "AUTOMATION_FAILED",
    "TEST",
)
"""Suggested; any other can be typed."""


async def show_deliveries(request: web.Request) -> web.Response:
    """A page of deliveries, newest first."""
    pulse, wrong, status = await pulse_of(request), "", 200
    services = request.app[SERVICES]
    given = MultiDict((key, value.strip()) for key, value in request.query.items() if value.strip())
    found = Found(items=[], after=None)
    try:
        wanted = read_search(given, now=services.clock.now())
        found = await browse(services.store, wanted)
    except BadRequest as error:
        wrong, status, wanted = error.detail, 400, Search()
    filters = {key: given.get(key, "") for key in _FILTERS}
    return await page(
        request,
        "deliveries",
        status=status,
        # What is further back does not change while it is looked at.
        pulse="" if wanted.after or wrong else pulse,
        wrong=wrong,
        found=found,
        filters=filters,
        filtered=any(filters.values()),
        first="after" not in given,
        onward=None if found.after is None else _link({**filters, "after": str(found.after)}),
        newest=_link(filters),
        states=list(State),
        events=EVENTS,
        scripts=list(services.scripts.catalog.scripts),
    )


def _link(parameters: Mapping[str, str]) -> str:
    query = urlencode({key: value for key, value in parameters.items() if value})
    return f"{ROOT}/deliveries?{query}" if query else f"{ROOT}/deliveries"
