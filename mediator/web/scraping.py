"""GET /metrics: what Prometheus scrapes. It needs no token."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import cached_property

from aiohttp import web

from mediator.errors import StoreUnavailable
from mediator.metrics.catalog import Shown
from mediator.model.census import Census
from mediator.web.health import look
from mediator.web.remembered import Remembered
from mediator.web.services import Services

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
            name: Shown(ready=script.ready, timeout=script.policy.timeout.total_seconds())
            for name, script in scripts.items()
        }
        self._services.metrics.catalog.show(shown)
