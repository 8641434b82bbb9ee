"""Tells pages that something has changed, so that they look again.

The store is felt once for all who watch, and only while somebody does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

from aiohttp import web

from mediator.web.services import Services
from mediator.web.streams import Event, stream

PAUSE = 1.0
"""Seconds between two looks."""
_FRESH = timedelta(seconds=0.5)
BEAT = 10
"""Looks without a change after which a sign of life is sent."""


class Changes:
    """The pulse of the store and the catalog."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._feeling = asyncio.Lock()
        self._last = ""
        self._at: datetime | None = None

    async def pulse(self) -> str:
        """A word that is another one when something has changed."""
        async with self._feeling:
            now = self._services.clock.now()
            if self._at is None or not timedelta(0) <= now - self._at < _FRESH:
                self._last, self._at = await self._feel(), now
            return self._last

    async def _feel(self) -> str:
        scripts = self._services.scripts.catalog.scripts.values()
        seen = (
            await self._services.store.pulse(),
            [(script.name, script.problem, script.warning, script.sha256) for script in scripts],
            self._services.draining,
        )
        return hashlib.sha256(repr(seen).encode(errors="backslashreplace")).hexdigest()[:16]

    async def events(self, seen: str) -> AsyncGenerator[Event | None]:
        """`changed` as often as it is another word than the last; None is a sign of life."""
        quiet = 0
        while not self._services.idle.is_set():
            pulse = await self.pulse()
            quiet = 0 if pulse != seen else quiet + 1
            if pulse != seen:
                yield Event("changed", {"pulse": pulse})
            elif quiet % BEAT == 0:
                yield None
            seen = pulse
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(PAUSE):
                await self._services.idle.wait()
        except TimeoutError:
            pass


CHANGES = web.AppKey("changes", Changes)


async def follow_changes(request: web.Request) -> web.StreamResponse:
    """Server-sent events for a page that shows what was so at the pulse `since`."""
    since = request.query.get("since", "")
    return await stream(request, request.app[CHANGES].events(since))
