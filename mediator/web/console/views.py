"""The pages about deliveries: the overview, the list, one delivery, and what can be done with it.

A list comes soon however many deliveries there are: it looks back as far as time allows, and says
how far that was.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from time import monotonic
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiDict

from mediator.errors import BadRequest, Forbidden, NotATicket, NotFound
from mediator.model.delivery import Attempt, Delivery, State, TicketFields
from mediator.model.policy import ANY, EMPTY
from mediator.model.ticket import read_ticket
from mediator.runners.output import LiveOutputs
from mediator.storage.interface import DeliveryStore, Search
from mediator.web import operator_api
from mediator.web.console.auth import ROOT, SESSION, redirect
from mediator.web.console.charts import STEP, STEPS, THROUGHPUT, Slot, stacked, timeline
from mediator.web.console.rendering import change_token_of, page
from mediator.web.health import unready
from mediator.web.operator_api import attempt_of, number_of, output_document
from mediator.web.schemas import read_search
from mediator.web.services import SERVICES, Services
from mediator.web.sse import DeliveryEvents, stream

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
_FILTERS = ("script", "event", "state", "ticket", "since", "until")
BUDGET = 0.7
"""Seconds after which no further stretch of a list is begun."""
FIRST_STRETCH = 20_000
"""Deliveries that are looked at first; then twice as many as long as that is quick."""
_QUICK = 0.1
_MARGIN = timedelta(hours=1)
"""How far the order of times may be off from that of `seq`, by clocks that were set."""

_LATEST = 5
"""Deliveries that run, and that are dead, on the overview."""
_ENDED_STATES = (State.SUCCEEDED, State.CANCELLED, State.DEAD)
_CHART_WIDTH, _CHART_HEIGHT = 720.0, 120.0
_TIMELINE_WIDTH, _TIMELINE_HEIGHT = 720.0, 16.0

MOST_XML = 64 * 1024
"""Bytes of a ticket that are on its page; a link leads to the whole."""
MOST_SHOWN = 10
"""Attempts whose outputs are on the page, the latest ones."""
MOST_TEXT = 32 * 1024
"""Characters of a stream that are on the page, the last ones."""
_LARGEST_READ = 2**20
"""Bytes of a ticket that is looked into for more than was remembered of it."""
_TOLD = {
    "retried": "It is due again now, with all its attempts.",
    "cancelled": "It is cancelled.",
    "stopping": "Its script is being stopped.",
}
_FILE = "default-src 'none'; sandbox"
"""Content-Security-Policy of a file: whatever shows it, nothing in it runs."""


async def show_overview(request: web.Request) -> web.Response:
    """What somebody wants to know at 3 a.m."""
    services, change_token = request.app[SERVICES], await change_token_of(request)
    backlog, slots, running, dead, problems = await asyncio.gather(
        services.store.backlog(),
        request.app[THROUGHPUT].slots(),
        services.store.search(Search(state=State.RUNNING, limit=_LATEST)),
        services.store.search(Search(state=State.DEAD, limit=_LATEST)),
        unready(services),
    )
    catalog = services.scripts.catalog
    if services.draining:
        problems["mediator"] = "it is shutting down"
    if catalog.problem:
        problems["scripts"] = catalog.problem
    return await page(
        request,
        "overview",
        change_token=change_token,
        backlog=backlog,
        problems=problems,
        scripts=list(catalog.scripts.values()),
        warnings=catalog.warnings,
        running=running,
        dead=dead,
        chart=_chart(slots),
    )


async def lead_to_overview(request: web.Request) -> web.Response:
    """From `/console/`, as people type it."""
    del request
    return redirect(ROOT)


def _chart(slots: list[Slot]) -> dict[str, object]:
    columns = [slot.counts for slot in slots]
    totals = {state: sum(column[state] for column in columns) for state in _ENDED_STATES}
    hours = _by_hour(slots)
    return {
        "bars": stacked(columns, width=_CHART_WIDTH, height=_CHART_HEIGHT, gap=3.0),
        "width": _CHART_WIDTH,
        "height": _CHART_HEIGHT,
        "most": max((column.total() for column in columns), default=0),
        "minutes": STEP // timedelta(minutes=1),
        "hours": STEP * STEPS // timedelta(hours=1),
        "begin": slots[0].begin,
        "middle": slots[STEPS // 2].begin,
        "totals": totals,
        "total": sum(totals.values()),
        "states": _ENDED_STATES,
        "rows": [row for row in hours if row.counts.total()],
    }


def _by_hour(slots: list[Slot]) -> list[Slot]:
    """Two slots in one, for the table; the latest first."""
    pairs = zip(slots[::2], slots[1::2], strict=True)
    return [Slot(begin=a.begin, counts=a.counts + b.counts) for a, b in pairs][::-1]


async def show_deliveries(request: web.Request) -> web.Response:
    """A page of deliveries, newest first."""
    change_token, wrong, status = await change_token_of(request), "", 200
    services = request.app[SERVICES]
    given = MultiDict((key, value.strip()) for key, value in request.query.items() if value.strip())
    found = DeliveryPage(items=[], after=None)
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
        change_token="" if wanted.after or wrong else change_token,
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


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryPage:
    """One page of deliveries."""

    items: list[Delivery]
    after: int | None
    """go on behind this `seq`; None: there is nothing more"""
    reached: datetime | None = None
    """how far back it was looked when time was over before the page was full"""


async def browse(
    store: DeliveryStore, wanted: Search, *, timer: Callable[[], float] = monotonic
) -> DeliveryPage:
    """The next page of what is wanted, or as much of it as time allows."""
    began, limit = timer(), wanted.limit
    top, bottom = await _ends(store, wanted)
    items: list[Delivery] = []
    length = FIRST_STRETCH
    while top > bottom:
        floor, looked = max(bottom, top - length), timer()
        # One more than fits tells whether there is a next page.
        more = limit + 1 - len(items)
        items += await store.search(replace(wanted, limit=more, after=top, floor=floor))
        if len(items) > limit:
            return DeliveryPage(items=items[:limit], after=items[limit - 1].seq)
        top, now = floor, timer()
        if top > bottom and now - began > BUDGET:
            return DeliveryPage(items=items, after=top, reached=await _time_at(store, top))
        length = length * 2 if now - looked < _QUICK else max(length // 2, FIRST_STRETCH)
    return DeliveryPage(items=items, after=None)


async def _ends(store: DeliveryStore, wanted: Search) -> tuple[int, int]:
    """Behind which `seq` to begin, and the last one to look at."""
    newest = await store.search(Search(limit=1))
    top = newest[0].seq + 1 if newest else 1
    if wanted.after is not None:
        top = min(top, wanted.after)
    if wanted.until is not None:
        top = min(top, await store.seq_at(wanted.until + _MARGIN))
    bottom = 1 if wanted.since is None else await store.seq_at(wanted.since - _MARGIN)
    return top, bottom


async def _time_at(store: DeliveryStore, seq: int) -> datetime | None:
    found = await store.search(Search(limit=1, after=seq + 1))
    return found[0].received if found else None


async def show_delivery(request: web.Request) -> web.Response:
    """Everything about one delivery."""
    services, change_token = request.app[SERVICES], await change_token_of(request)
    delivery = await services.store.find(request.match_info["id"])
    body = await services.store.body(delivery.id)
    now = services.clock.now()
    return await page(
        request,
        "delivery",
        change_token=change_token,
        delivery=delivery,
        arguments=[_text(argument) for argument in delivery.arguments],
        variables={name: _text(value) for name, value in sorted(delivery.variables.items())},
        ticket=await asyncio.to_thread(_fields, delivery, body),
        xml=_decoded(body[:MOST_XML]),
        xml_size=len(body),
        xml_cut=len(body) > MOST_XML,
        attempts=attempt_views(delivery, services.live, now=now),
        rectangles=timeline(
            delivery.attempts,
            begin=delivery.received,
            now=now,
            width=_TIMELINE_WIDTH,
            height=_TIMELINE_HEIGHT,
        ),
        width=_TIMELINE_WIDTH,
        height=_TIMELINE_HEIGHT,
        told=_TOLD.get(request.query.get("told", ""), ""),
        known=delivery.script in services.scripts.catalog.scripts,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamView:
    """What an attempt wrote to one stream."""

    name: str
    text: str
    size: int
    """bytes it wrote"""
    cut: bool
    """whether `text` begins in the middle"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView:
    """One attempt."""

    attempt: Attempt
    streams: tuple[StreamView, ...]
    """empty where they are left to a link"""
    latest: bool
    length: timedelta
    """so far, while it runs"""

    @property
    def word(self) -> str:
        """How it ended, in a word or two."""
        outcome = self.attempt.outcome
        return "running" if outcome is None else outcome.value.replace("_", " ")


def attempt_views(delivery: Delivery, live: LiveOutputs, *, now: datetime) -> list[AttemptView]:
    """Every attempt, the latest first."""
    latest_first = delivery.attempts[::-1]
    return [
        AttemptView(
            attempt=attempt,
            streams=_streams(delivery, attempt, live) if position < MOST_SHOWN else (),
            latest=position == 0,
            length=(attempt.ended or now) - attempt.started,
        )
        for position, attempt in enumerate(latest_first)
    ]


def _streams(delivery: Delivery, attempt: Attempt, live: LiveOutputs) -> tuple[StreamView, ...]:
    document = output_document(delivery, attempt, live.find(delivery.id, attempt.number))
    return tuple(
        StreamView(name=name, text=text[-MOST_TEXT:], size=size, cut=len(text) > MOST_TEXT)
        for name, text, size in (
            ("stdout", document.stdout, document.stdout_bytes),
            ("stderr", document.stderr, document.stderr_bytes),
        )
    )


def _fields(delivery: Delivery, body: bytes) -> Mapping[str, object]:
    """What is known of the ticket: what was remembered, and more where its XML can be read."""
    known = {field.name: getattr(delivery.ticket, field.name) for field in fields(TicketFields)}
    if len(body) <= _LARGEST_READ:
        try:
            ticket = read_ticket(body, roots=(ANY, EMPTY))
        except NotATicket:
            return known
        more = ("step_id", "requester_name", "first_step", "comment", "created", "updated")
        known |= {name: getattr(ticket, name) for name in more}
    return known


def _decoded(body: bytes) -> str:
    """As UTF-8 unless it says by a mark that it is UTF-16; what is neither is replaced."""
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return body.decode("utf-16" if body.startswith(marks) else "utf-8", "replace")


def _text(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def retry(request: web.Request) -> web.Response:
    """Make it due now, and show it."""
    _require_operator(request)
    delivery = await operator_api.retry(request, request[SESSION].holder)
    return redirect(f"{ROOT}/deliveries/{delivery.id}?told=retried")


async def cancel(request: web.Request) -> web.Response:
    """End it or have it stopped, and show it."""
    _require_operator(request)
    delivery = await operator_api.cancel(request, request[SESSION].holder)
    told = "cancelled" if delivery.state is State.CANCELLED else "stopping"
    return redirect(f"{ROOT}/deliveries/{delivery.id}?told={told}")


def _require_operator(request: web.Request) -> None:
    session = request[SESSION]
    if not session.may_operate:
        raise Forbidden(
            f"You are signed in as {session.holder.name}, who may only look;"
            " this needs a token with the role operator."
        )


async def follow_output(request: web.Request) -> web.StreamResponse:
    """Server-sent events of its attempts from `attempt` on, as `/v1/deliveries/ID/output` has."""
    services = request.app[SERVICES]
    delivery = await services.store.find(request.match_info["id"])
    first = number_of(request) or 1
    return await stream(request, DeliveryEvents(services, delivery.id, first=first).events())


async def download_ticket(request: web.Request) -> web.Response:
    """The ticket as it was handed over, byte for byte, as a file."""
    store = request.app[SERVICES].store
    delivery = await store.find(request.match_info["id"])
    body = await store.body(delivery.id)
    return _file(body, f"ticket-{delivery.id}.xml", "application/xml")


async def download_output(request: web.Request) -> web.Response:
    """What is kept of one stream of one attempt, as a file."""
    services: Services = request.app[SERVICES]
    delivery = await services.store.find(request.match_info["id"])
    number, name = int(request.match_info["number"]), request.match_info["stream"]
    attempt = attempt_of(delivery, number)
    if attempt is None:
        raise NotFound(f"delivery {delivery.id} has no attempt {number}.")
    written = output_document(delivery, attempt, services.live.find(delivery.id, number))
    text = written.stdout if name == "stdout" else written.stderr
    return _file(text.encode(), f"{name}-{number}-{delivery.id}.txt", "text/plain; charset=utf-8")


def _file(body: bytes, name: str, content_type: str) -> web.Response:
    return web.Response(
        body=body,
        headers={
            "Content-Type": content_type,
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": _FILE,
        },
    )
