"""Health for probes, and the page of metrics that Prometheus scrapes. Neither needs a token."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import cached_property

from aiohttp import web

from mediator.errors import StoreUnavailable
from mediator.metrics.system import ShownScript
from mediator.model.delivery import Census
from mediator.web.openapi import Operation
from mediator.web.services import SERVICES, Check, Services
from mediator.web.ttl_cache import TtlCache

_PATIENCE = 5.0
"""Seconds one check may take before it counts as failed."""
_FRESH = timedelta(milliseconds=500)
"""Several who scrape at once have the store counted once."""
_SHARE = 10
"""Counting may take one part in so many of the time."""


@Operation(name="livez", summary="Whether the process answers.", answers={200: "It does."})
async def livez(request: web.Request) -> web.Response:
    """200 as long as the event loop answers."""
    del request
    return web.json_response({"status": "alive"})


@Operation(
    name="readyz",
    summary="Whether work can be taken and done.",
    answers={200: "It can.", 503: "It cannot; the document says why."},
)
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


@Operation(
    name="metrics",
    summary="Metrics for Prometheus.",
    answers={200: "Text in the Prometheus exposition format."},
)
async def metrics(request: web.Request) -> web.Response:
    """The page."""
    shown = request.app[SERVICES].metrics
    await request.app[SCRAPE].look()
    accept = ",".join(request.headers.getall("Accept", []))
    page = await asyncio.to_thread(shown.page, accept)
    return web.Response(body=page.body, headers={"Content-Type": page.content_type})


class Scrape:
    """Brings up to date what is looked at only when it is asked for."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def look(self) -> None:
        """Ask the parts, and show what they say."""
        await asyncio.gather(self._parts(), self._deliveries(), self._disk())
        self._scripts()

    async def _parts(self) -> None:
        found = await look(self._services)
        ready = {part: not wrong for part, wrong in found.items()}
        self._services.metrics.process.show({**ready, "intake": not self._services.draining})

    async def _deliveries(self) -> None:
        """Without the store the rest is still worth having."""
        age = max(_FRESH, self._census.took * _SHARE)
        try:
            census, at = await self._census.get(age)
        except StoreUnavailable:
            return
        self._services.metrics.backlog.show(census, now=at)

    @cached_property
    def _census(self) -> TtlCache[tuple[Census, datetime]]:
        return TtlCache(self._count, self._services.clock)

    async def _count(self) -> tuple[Census, datetime]:
        """What the store counted, and when."""
        now = self._services.clock.now()
        return await self._services.store.census(now=now), now

    async def _disk(self) -> None:
        size = free = None
        try:
            free = await self._services.backpressure.free()
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


SCRAPE = web.AppKey("scrape", Scrape)
