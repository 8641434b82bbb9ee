"""The operator API: look at deliveries, scripts and the whole; retry and cancel.

The console shows the same, so what it needs takes no request of this API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from aiohttp import web
from pydantic import BaseModel

import mediator
from mediator.catalog.script import Script
from mediator.errors import BadRequest, NotFound, StoreUnavailable
from mediator.metrics.recent import Recent
from mediator.model.delivery import Attempt, Delivery, State
from mediator.runners.output import OutputTail
from mediator.settings.schema import Role
from mediator.storage.interface import Backlog, Search
from mediator.tracing.context import traced
from mediator.web.health import unready
from mediator.web.openapi import Json, Operation, parameter, refused
from mediator.web.schemas import (
    LARGEST_PAGE,
    DeliveryDocument,
    DeliveryList,
    LastDeadDocument,
    OutputDocument,
    RecentDocument,
    ScriptDocument,
    ScriptList,
    ScriptStatusDocument,
    SlotsDocument,
    StatusDocument,
    document,
    read_search,
    script_document,
    text_of,
)
from mediator.web.services import SERVICES, Holder, Services
from mediator.web.sse import CONTENT_TYPE as _STREAM
from mediator.web.sse import DeliveryEvents, stream
from mediator.web.tokens import require

_log = structlog.get_logger()
_FOLLOW = {"": True, "true": True, "false": False}
_LATEST = 100
"""Dead deliveries that are looked at, the newest, for each script's last one."""

_ID = parameter("id", "path", "Id of the delivery, as `Mediator-Delivery` gave it.")
_NAME = parameter("name", "path", "File name of the script, or its name without suffix.")
_TIME = "A time (ISO 8601), or a duration before now such as 2h."
_WHEN: Json = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "pattern": "^[0-9]{1,5}(ms|s|m|h|d)$"},
    ]
}
_SEARCH = (
    parameter("script", "query", "File name of the script."),
    parameter("event", "query", "Value of SCW_EVENT."),
    parameter("state", "query", "State of the delivery.", enum=list(State)),
    parameter("ticket", "query", "Id of the ticket."),
    {**parameter("since", "query", f"Received at or after. {_TIME}"), "schema": _WHEN},
    {**parameter("until", "query", f"Received before. {_TIME}"), "schema": _WHEN},
    parameter(
        "limit", "query", "Deliveries on a page.", type="integer", minimum=1, maximum=LARGEST_PAGE
    ),
    parameter("after", "query", "`next` of the page before.", pattern="^[1-9][0-9]{0,17}$"),
)
_ATTEMPT = parameter(
    "attempt",
    "query",
    "Number of the attempt; by default the latest.",
    type="integer",
    minimum=1,
    maximum=999_999_999,
)
_FOLLOWED = parameter(
    "follow",
    "query",
    "Server-sent events from that attempt on until the delivery has ended: `attempt`"
    " when one begins and when it has ended, `stdout`, `stderr`, `gap` for bytes that"
    " a slow reader missed, `end`. `Accept: text/event-stream` asks for the same.",
    enum=["", "true", "false"],
)


@Operation(
    name="listDeliveries",
    summary="Deliveries, newest first, without outputs.",
    parameters=_SEARCH,
    answers={200: DeliveryList, **refused(400, 401, 503)},
    security="token",
)
async def list_deliveries(request: web.Request) -> web.Response:
    """Deliveries, newest first."""
    require(request, Role.VIEWER)
    services = request.app[SERVICES]
    search = read_search(request.query, now=services.clock.now())
    # One more than asked for tells whether there is a next page.
    found = await services.store.search(replace(search, limit=search.limit + 1))
    page = found[: search.limit]
    return _json(
        DeliveryList(
            items=[document(delivery, outputs=False) for delivery in page],
            next=str(page[-1].seq) if len(found) > len(page) else None,
        )
    )


@Operation(
    name="showDelivery",
    summary="One delivery with its attempts and their outputs.",
    parameters=(_ID,),
    answers={200: DeliveryDocument, **refused(401, 404, 503)},
    security="token",
)
async def show_delivery(request: web.Request) -> web.Response:
    """One delivery with all attempts and their outputs."""
    require(request, Role.VIEWER)
    delivery = await request.app[SERVICES].store.find(request.match_info["id"])
    return _json(document(delivery))


@Operation(
    name="showOutput",
    summary="What an attempt has written, also while it runs.",
    parameters=(_ID, _ATTEMPT, _FOLLOWED),
    answers={200: OutputDocument, **refused(400, 401, 404, 503)},
    texts=("text/plain", "text/event-stream"),
    security="token",
)
async def show_output(request: web.Request) -> web.StreamResponse:
    """What the latest attempt has written, or another one; with `follow` all that comes too."""
    require(request, Role.VIEWER)
    services = request.app[SERVICES]
    follow = _follow(request)
    asked = number_of(request)
    delivery = await services.store.find(request.match_info["id"])
    attempt = attempt_of(delivery, asked)
    if follow:
        first = 1 if attempt is None else attempt.number
        return await stream(request, DeliveryEvents(services, delivery.id, first=first).events())
    live = None if attempt is None else services.live.find(delivery.id, attempt.number)
    shown = output_document(delivery, attempt, live)
    if "text/plain" in request.headers.get("Accept", ""):
        return web.Response(text=shown.stdout + shown.stderr)
    return _json(shown)


def _follow(request: web.Request) -> bool:
    value = request.query.get("follow", "false")
    if value not in _FOLLOW:
        raise BadRequest("follow is neither true nor false.")
    wanted = _FOLLOW[value] or _STREAM in request.headers.get("Accept", "")
    return wanted and request.method != "HEAD"


def number_of(request: web.Request) -> int | None:
    """The attempt that is asked for. Raises `BadRequest`."""
    value = request.query.get("attempt")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value)):
        raise BadRequest("attempt is not the number of an attempt: 1, 2, ...")
    return int(value)


def attempt_of(delivery: Delivery, number: int | None) -> Attempt | None:
    """That attempt, the latest by default; None when there is none yet. Raises `NotFound`."""
    if number is None:
        return delivery.attempts[-1] if delivery.attempts else None
    found = [attempt for attempt in delivery.attempts if attempt.number == number]
    if not found:
        raise NotFound(f"delivery {delivery.id} has no attempt {number}.")
    return found[0]


def output_document(
    delivery: Delivery, attempt: Attempt | None, live: OutputTail | None
) -> OutputDocument:
    """What the attempt has written: what is held of it while it runs here, else what is stored."""
    texts = {"stdout": "", "stderr": ""}
    sizes = dict.fromkeys(texts, 0)
    for name in texts:
        if live is not None:
            held = b"".join(piece.data for piece in live.since(0) if piece.stream == name)
            texts[name], sizes[name] = text_of(held), live.sizes[name]
        elif attempt is not None:
            output = attempt.stdout if name == "stdout" else attempt.stderr
            texts[name], sizes[name] = text_of(output.kept), output.size
    return OutputDocument(
        delivery=delivery.id,
        state=delivery.state,
        attempt=None if attempt is None else attempt.number,
        running=attempt is not None and attempt.outcome is None,
        stdout=texts["stdout"],
        stdout_bytes=sizes["stdout"],
        stderr=texts["stderr"],
        stderr_bytes=sizes["stderr"],
    )


@Operation(
    name="retryDelivery",
    summary="Make it due now with a fresh budget. Needs the role operator.",
    parameters=(_ID,),
    answers={200: DeliveryDocument, **refused(401, 403, 404, 409, 503)},
    security="token",
)
async def retry_delivery(request: web.Request) -> web.Response:
    """Make a delivery due now, with a fresh budget."""
    holder = require(request, Role.OPERATOR)
    return _json(document(await retry(request, holder)))


async def retry(request: web.Request, holder: Holder) -> Delivery:
    """What `holder` asks for, who may. Raises `NotFound` or `Conflict`."""
    services = request.app[SERVICES]
    delivery = await services.store.retry(request.match_info["id"], now=services.clock.now())
    _log.info("delivery retried", **_named(delivery), by=holder.name)
    return delivery


@Operation(
    name="cancelDelivery",
    summary="End it, or stop its running attempt. Needs the role operator.",
    parameters=(_ID,),
    answers={200: DeliveryDocument, **refused(401, 403, 404, 409, 503)},
    security="token",
)
async def cancel_delivery(request: web.Request) -> web.Response:
    """End a pending delivery; stop a running one."""
    holder = require(request, Role.OPERATOR)
    return _json(document(await cancel(request, holder)))


async def cancel(request: web.Request, holder: Holder) -> Delivery:
    """What `holder` asks for, who may. Raises `NotFound` or `Conflict`."""
    services = request.app[SERVICES]
    delivery = await services.store.cancel(
        request.match_info["id"],
        now=services.clock.now(),
        reason=f"cancelled by {holder.name}",
    )
    _log.info(
        "delivery cancelled", **_named(delivery), by=holder.name, running=not delivery.state.ended
    )
    return delivery


def _named(delivery: Delivery) -> dict[str, str | None]:
    """The ids by which its other log lines are found."""
    return {
        "delivery_id": delivery.id,
        "ticket_id": delivery.ticket.id,
        "script": delivery.script,
        **traced(delivery.trace),
    }


@Operation(
    name="listScripts",
    summary="All scripts, whether they are ready, and their policies.",
    answers={200: ScriptList, **refused(401, 503)},
    security="token",
)
async def list_scripts(request: web.Request) -> web.Response:
    """All scripts."""
    require(request, Role.VIEWER)
    catalog = request.app[SERVICES].scripts.catalog
    items = [script_document(script) for script in catalog.scripts.values()]
    return _json(ScriptList(items=items, next=None, warnings=list(catalog.warnings)))


@Operation(
    name="showScript",
    summary="One script.",
    parameters=(_NAME,),
    answers={200: ScriptDocument, **refused(401, 404, 503)},
    security="token",
)
async def show_script(request: web.Request) -> web.Response:
    """One script."""
    require(request, Role.VIEWER)
    script = request.app[SERVICES].scripts.catalog.find(request.match_info["name"])
    return _json(script_document(script))


@Operation(
    name="showStatus",
    summary="The mediator at a glance.",
    answers={200: StatusDocument, **refused(401, 503)},
    security="token",
)
async def show_status(request: web.Request) -> web.Response:
    """The overview; what only the store knows is null while the store is away."""
    require(request, Role.VIEWER)
    services = request.app[SERVICES]
    recent, now = services.metrics.recent.counts(), services.clock.now()
    problems = await unready(services)
    backlog, dead, free = await _stored(services)
    return _json(
        StatusDocument(
            version=mediator.__version__,
            ready=not problems,
            problems=problems,
            uptime_seconds=recent.uptime,
            pending=backlog and backlog.pending,
            running=backlog and backlog.running,
            dead=backlog and backlog.dead,
            oldest_pending_seconds=_age(backlog, now),
            free_bytes=free,
            slots=_slots(services),
            recent=RecentDocument(
                seconds=recent.seconds,
                accepted=recent.accepted,
                attempts=recent.attempts,
                failed=recent.failed,
            ),
            scripts=_scripts(services, dead),
        )
    )


async def _stored(
    services: Services,
) -> tuple[Backlog | None, Sequence[Delivery], int | None]:
    try:
        return (
            await services.store.backlog(),
            await services.store.search(Search(state=State.DEAD, limit=_LATEST)),
            await services.backpressure.free(),
        )
    except StoreUnavailable:
        return None, (), None


def _age(backlog: Backlog | None, now: datetime) -> float | None:
    if backlog is None or backlog.oldest_pending is None:
        return None
    return max(0.0, (now - backlog.oldest_pending).total_seconds())


def _slots(services: Services) -> dict[str, SlotsDocument]:
    slots = services.slots
    return {
        name: SlotsDocument(
            running=slots.running(interactive=interactive),
            slots=slots.size(interactive=interactive),
        )
        for name, interactive in (("trigger", False), ("interactive", True))
    }


def _scripts(services: Services, dead: Sequence[Delivery]) -> list[ScriptStatusDocument]:
    recent = services.metrics.recent
    last = {delivery.script: delivery for delivery in reversed(dead)}
    return [
        _script(script, recent, last.get(script.name))
        for script in services.scripts.catalog.scripts.values()
    ]


def _script(script: Script, recent: Recent, dead: Delivery | None) -> ScriptStatusDocument:
    return ScriptStatusDocument(
        name=script.name,
        kind=script.policy.kind,
        ready=script.ready,
        problem=script.problem,
        succeeded=recent.succeeded[script.name],
        failed=recent.failed[script.name],
        last_dead=dead
        and LastDeadDocument(delivery=dead.id, ended=dead.ended, reason=dead.last_error),
    )


def _json(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")
