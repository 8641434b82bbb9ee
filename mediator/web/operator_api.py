"""The operator API: look at deliveries and scripts, retry and cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from aiohttp import web
from pydantic import BaseModel

import mediator
from mediator.catalog.script import Script
from mediator.errors import BadRequest, NotFound, StoreUnavailable
from mediator.model.delivery import Attempt, Delivery, State
from mediator.runners.output import OutputTail
from mediator.settings.schema import Role
from mediator.storage.interface import Backlog, Search
from mediator.tracing.context import traced
from mediator.web.health import unready
from mediator.web.recent import Counts, counted, values
from mediator.web.schemas import (
    DeliveryList,
    LastDeadDocument,
    OutputDocument,
    RecentDocument,
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


async def show_delivery(request: web.Request) -> web.Response:
    """One delivery with all attempts and their outputs."""
    require(request, Role.VIEWER)
    delivery = await request.app[SERVICES].store.find(request.match_info["id"])
    return _json(document(delivery))


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


async def list_scripts(request: web.Request) -> web.Response:
    """All scripts."""
    require(request, Role.VIEWER)
    catalog = request.app[SERVICES].scripts.catalog
    items = [script_document(script) for script in catalog.scripts.values()]
    return _json(ScriptList(items=items, next=None, warnings=list(catalog.warnings)))


async def show_script(request: web.Request) -> web.Response:
    """One script."""
    require(request, Role.VIEWER)
    script = request.app[SERVICES].scripts.catalog.find(request.match_info["name"])
    return _json(script_document(script))


def _named(delivery: Delivery) -> dict[str, str | None]:
    """The ids by which its other log lines are found."""
    return {
        "delivery_id": delivery.id,
        "ticket_id": delivery.ticket.id,
        "script": delivery.script,
        **traced(delivery.trace),
    }


def _json(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")


# GET /v1/status: what an operator wants to see first, in one document.

_LATEST = 100
"""Dead deliveries that are looked at, the newest, for each script's last one."""


async def show_status(request: web.Request) -> web.Response:
    """The overview."""
    require(request, Role.VIEWER)
    document = await overview(request.app[SERVICES])
    return web.Response(text=document.model_dump_json(), content_type="application/json")


async def overview(services: Services) -> StatusDocument:
    """All of it; what only the store knows is null while the store is away."""
    problems = await unready(services)
    backlog, dead, free = await _stored(services)
    now = counted(services.metrics, services.clock.now())
    began = services.recent.began or now.at
    return StatusDocument(
        version=mediator.__version__,
        ready=not problems,
        problems=problems,
        uptime_seconds=_seconds(began, now.at),
        pending=backlog and backlog.pending,
        running=backlog and backlog.running,
        dead=backlog and backlog.dead,
        oldest_pending_seconds=_age(backlog, now.at),
        free_bytes=free,
        slots={calls: _slots(services, calls) for calls in ("trigger", "interactive")},
        recent=_recent(services.recent.before(now), now),
        scripts=_scripts(services, now, dead),
    )


async def _stored(
    services: Services,
) -> tuple[Backlog | None, Sequence[Delivery], int | None]:
    try:
        return (
            await services.store.backlog(),
            await services.store.search(Search(state=State.DEAD, limit=_LATEST)),
            await services.bounds.free(),
        )
    except StoreUnavailable:
        return None, (), None


def _age(backlog: Backlog | None, now: datetime) -> float | None:
    if backlog is None or backlog.oldest_pending is None:
        return None
    return _seconds(backlog.oldest_pending, now)


def _seconds(began: datetime, now: datetime) -> float:
    return max(0.0, (now - began).total_seconds())


def _slots(services: Services, calls: str) -> SlotsDocument:
    running, slots = (
        int(
            sum(
                value
                for labels, value in values(services.metrics, name)
                if labels["calls"] == calls
            )
        )
        for name in ("mediator_attempts_running", "mediator_slots")
    )
    return SlotsDocument(running=running, slots=slots)


def _recent(before: Counts, now: Counts) -> RecentDocument:
    failed = now.failed.total() - before.failed.total()
    return RecentDocument(
        seconds=_seconds(before.at, now.at),
        accepted=now.accepted - before.accepted,
        attempts=now.succeeded.total() - before.succeeded.total() + failed,
        failed=failed,
    )


def _scripts(
    services: Services, now: Counts, dead: Sequence[Delivery]
) -> list[ScriptStatusDocument]:
    last = {delivery.script: delivery for delivery in reversed(dead)}
    return [
        _script(script, now, last.get(script.name))
        for script in services.scripts.catalog.scripts.values()
    ]


def _script(script: Script, now: Counts, dead: Delivery | None) -> ScriptStatusDocument:
    return ScriptStatusDocument(
        name=script.name,
        kind=script.policy.kind,
        ready=script.ready,
        problem=script.problem,
        succeeded=now.succeeded[script.name],
        failed=now.failed[script.name],
        last_dead=dead
        and LastDeadDocument(delivery=dead.id, ended=dead.ended, reason=dead.last_error),
    )


async def keeping(app: web.Application) -> AsyncIterator[None]:
    """While the application runs, what is recent is remembered; an aiohttp cleanup context."""
    services = app[SERVICES]
    with services.recent.keeping(lambda: counted(services.metrics, services.clock.now())):
        yield


# What an attempt has written: as a document, as text, or as it comes.

_FOLLOW = {"": True, "true": True, "false": False}


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
    return web.Response(text=shown.model_dump_json(), content_type="application/json")


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
