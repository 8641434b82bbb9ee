"""Health and metrics, for probes and Prometheus. They need no token."""

from __future__ import annotations

import asyncio
from math import nan

from aiohttp import web

from mediator.errors import StoreUnavailable
from mediator.metrics import CONTENT_TYPE
from mediator.web.services import SERVICES, Check, Services

_PATIENCE = 5.0
"""Seconds one check may take before it counts as failed."""


async def livez(request: web.Request) -> web.Response:
    """200 as long as the event loop answers."""
    del request
    return web.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """200 when work can be taken and done, else 503 with what is wrong."""
    services = request.app[SERVICES]
    broken = [s for s in services.scripts.catalog.scripts.values() if not s.ready]
    wrong = await unready(services)
    if services.draining:
        return _answer(wrong)
    return _answer(wrong, {script.name: script.problem for script in broken})


async def unready(services: Services) -> dict[str, str]:
    """What keeps it from working: the part and the reason."""
    if services.draining:
        return {"mediator": "it is shutting down"}
    names = list(services.checks)
    found = await asyncio.gather(*(_look(services.checks[name]) for name in names))
    return {name: wrong for name, wrong in zip(names, found, strict=True) if wrong}


async def _look(check: Check) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await check()
    except TimeoutError:
        return f"no answer within {_PATIENCE:g} seconds"


def _answer(wrong: dict[str, str], scripts: dict[str, str] | None = None) -> web.Response:
    """A script that cannot run is shown, but does not make the whole mediator unready."""
    document = {
        "status": "not ready" if wrong else "ready",
        "problems": wrong,
        "scripts_not_ready": scripts or {},
    }
    return web.json_response(document, status=503 if wrong else 200)


async def metrics(request: web.Request) -> web.Response:
    """The page that Prometheus scrapes."""
    services = request.app[SERVICES]
    _count_scripts(services)
    await _count_deliveries(services)
    return web.Response(
        body=await asyncio.to_thread(services.metrics.page),
        headers={"Content-Type": CONTENT_TYPE},
    )


def _count_scripts(services: Services) -> None:
    scripts = services.scripts.catalog.scripts.values()
    for ready in (True, False):
        count = sum(script.ready is ready for script in scripts)
        services.metrics.scripts.labels(str(ready).lower()).set(count)


async def _count_deliveries(services: Services) -> None:
    """Gauges that are read from the store when asked. Without it the rest is still worth having."""
    try:
        backlog = await services.store.backlog()
        free = await services.bounds.free()
    except StoreUnavailable:
        services.metrics.store_errors.inc()
        return
    gauges = services.metrics
    gauges.pending.set(backlog.pending)
    gauges.free.set(nan if free is None else free)
    gauges.dead.set(backlog.dead)
    oldest = backlog.oldest_pending
    age = 0.0 if oldest is None else (services.clock.now() - oldest).total_seconds()
    gauges.oldest.set(max(0.0, age))
