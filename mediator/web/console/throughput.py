"""How many deliveries ended in each half hour of the last day.

What lies behind is counted once and remembered: a million ends are not counted for each look. A
delivery that is retried did end then, and stays counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web

from mediator.clock import Clock
from mediator.model.deliveries import State
from mediator.storage.port import DeliveryStore

STEP = timedelta(minutes=30)
STEPS = 48
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATE = timedelta(minutes=2)
"""An end is recorded no later than that after it happened."""
_FRESH = timedelta(seconds=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A stretch of time, and what ended in it."""

    begin: datetime
    counts: Counter[State]


class Throughput:
    """Counts ends; one for all who look."""

    def __init__(self, store: DeliveryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._counting = asyncio.Lock()
        self._past: dict[datetime, Counter[State]] = {}
        self._last: list[Slot] = []
        self._at: datetime | None = None

    async def slots(self) -> list[Slot]:
        """The last day, oldest first; the last slot is the one that time is in."""
        async with self._counting:
            now = self._clock.now()
            if self._at is None or not timedelta(0) <= now - self._at < _FRESH:
                self._last, self._at = await self._count(now), now
            return self._last

    async def _count(self, now: datetime) -> list[Slot]:
        end = now - (now - _EPOCH) % STEP + STEP
        begins = [end - STEP * n for n in range(STEPS, 0, -1)]
        missing = [begin for begin in begins if begin not in self._past]
        since = missing[0]
        found = await self._store.ends(since=since, until=end, step=STEP)
        counts: dict[datetime, Counter[State]] = {begin: Counter() for begin in missing}
        for (step, state), count in found.items():
            begin = since + STEP * step
            if begin in counts:
                counts[begin][state] = count
        counts |= {begin: seen for begin, seen in self._past.items() if begin in begins}
        self._past = {b: seen for b, seen in counts.items() if b + STEP + _LATE < now}
        return [Slot(begin=begin, counts=counts[begin]) for begin in begins]


THROUGHPUT = web.AppKey("throughput", Throughput)
