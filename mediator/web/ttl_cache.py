"""A TTL cache: what was seen at the last look, for those who need not have it fresh."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from mediator.clock import Clock

T = TypeVar("T")


class TtlCache(Generic[T]):
    """Holds one value, and looks again when it is too old for who asks.

    Many who want to look at once look once: whoever waits for the lock is served by a look that
    began after it had asked.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._looking = asyncio.Lock()
        self._seen: list[T] = []
        self._begun = 0
        self._at: datetime | None = None
        self.took = timedelta(0)
        """how long the last look took"""

    async def get(self, age: timedelta) -> T:
        """What was seen less than `age` ago, or is seen now. Raises what looking raises."""
        if self._older(age):
            begun = self._begun
            async with self._looking:
                if self._at is None or (self._begun == begun and self._older(age)):
                    await self._see()
        return self._seen[0]

    def _older(self, age: timedelta) -> bool:
        # A clock that was set back must not make it young for ever.
        return self._at is None or not timedelta(0) <= self._clock.now() - self._at < age

    async def _see(self) -> None:
        self._begun += 1
        self._at, began = None, self._clock.now()
        self._seen = [await self._look()]
        self._at = self._clock.now()
        self.took = self._at - began
