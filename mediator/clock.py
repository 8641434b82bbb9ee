"""What time it is, asked here only, so that tests can say what time it is; and a bounded wait."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is, always in UTC, and how much time has passed."""

    def now(self) -> datetime:
        """Now, with time zone UTC; it jumps when somebody sets the clock."""
        ...

    def steady(self) -> float:
        """Seconds since some moment; nobody can set it."""
        ...


class SystemClock:
    """The clock of the host."""

    def now(self) -> datetime:
        """Now, with time zone UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def steady(self) -> float:
        """Seconds since some moment; nobody can set it."""
        return time.monotonic()


async def wait_for_event(event: asyncio.Event, *, seconds: float | None) -> bool:
    """Return when the event is set, at the latest after `seconds` (None: never); whether it is."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def wait_for_any(*events: asyncio.Event, seconds: float) -> bool:
    """Return when one of the events is set, at the latest after `seconds`; whether one is then."""
    waits = [asyncio.create_task(event.wait(), name="wait for any event") for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return any(event.is_set() for event in events)
