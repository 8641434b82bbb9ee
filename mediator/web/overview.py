"""GET /v1/status: what an operator wants to see first, in one document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from aiohttp import web

import mediator
from mediator.catalog.scripts import Script
from mediator.errors import StoreUnavailable
from mediator.model.deliveries import Delivery, State
from mediator.settings.tree import Role
from mediator.storage.port import Backlog, Search
from mediator.web.documents import (
    LastDeadDocument,
    RecentDocument,
    ScriptStatusDocument,
    SlotsDocument,
    StatusDocument,
)
from mediator.web.health import unready
from mediator.web.recent import Counts, counted, values
from mediator.web.services import SERVICES, Services
from mediator.web.tokens import require

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
