"""Health, for probes. It needs no token."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import cached_property

from aiohttp import web

from mediator.errors import StoreUnavailable
from mediator.metrics.system import ShownScript
from mediator.model.delivery import Census
from mediator.web.backpressure import Remembered
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
    found = await look(services)
    return {name: wrong for name, wrong in found.items() if wrong}


async def look(services: Services) -> dict[str, str]:
    """Part → what is wrong with it, or nothing."""
    names = list(services.checks)
    found = await asyncio.gather(*(_look(services.checks[name]) for name in names))
    return dict(zip(names, found, strict=True))


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


# GET /metrics: what Prometheus scrapes. It needs no token.

_FRESH = timedelta(milliseconds=500)
"""Several who scrape at once have the store counted once."""
_SHARE = 10
"""Counting may take one part in so many of the time."""

Seen = tuple[Census, datetime]
"""What the store counted, and when."""


class Scrape:
    """Brings up to date what is looked at only when it is asked for."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def _seen(self) -> Remembered[Seen]:
        return Remembered(self._count, self._services.clock)

    async def _count(self) -> Seen:
        now = self._services.clock.now()
        return await self._services.store.census(now=now), now

    async def metrics(self, request: web.Request) -> web.Response:
        """The page."""
        await asyncio.gather(self._parts(), self._deliveries(), self._disk())
        self._scripts()
        accept = ",".join(request.headers.getall("Accept", []))
        page = await asyncio.to_thread(self._services.metrics.page, accept)
        return web.Response(body=page.body, headers={"Content-Type": page.content_type})

    async def _parts(self) -> None:
        found = await look(self._services)
        ready = {part: not wrong for part, wrong in found.items()}
        self._services.metrics.process.show({**ready, "intake": not self._services.draining})

    async def _deliveries(self) -> None:
        """Without the store the rest is still worth having."""
        age = max(_FRESH, self._seen.took * _SHARE)
        try:
            census, at = await self._seen.get(age)
        except StoreUnavailable:
            return
        self._services.metrics.backlog.show(census, now=at)

    async def _disk(self) -> None:
        size = free = None
        try:
            free = await self._services.bounds.free()
            size = await self._services.store.size()
        except StoreUnavailable:  # what is not known is shown as that
            pass
        self._services.metrics.store.show(size=size, free=free)

    def _scripts(self) -> None:
        scripts = self._services.scripts.catalog.scripts
        shown = {
            name: ShownScript(ready=script.ready, timeout=script.policy.timeout.total_seconds())
            for name, script in scripts.items()
        }
        self._services.metrics.catalog.show(shown)
