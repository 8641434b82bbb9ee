"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds; generous, because machines are busy."""
_FIRST, _LONGEST = 0.02, 0.2
"""Seconds between two looks: a look at a daemon is work for it too, and others wait for theirs."""


async def eventually(
    look: Callable[[], Awaitable[T]],
    *,
    until: Callable[[T], bool] = bool,
    seconds: float = DEADLINE,
) -> T:
    """Look again and again until `until` is true of what is seen; that is returned."""
    deadline = time.monotonic() + seconds
    pauses = _pauses()
    while True:
        seen = await look()
        if until(seen):
            return seen
        assert time.monotonic() < deadline, f"never happened within {seconds} s; last seen: {seen}"
        await asyncio.sleep(next(pauses))


def eventually_true(look: Callable[[], T], *, seconds: float = DEADLINE) -> T:
    """The same without an event loop, for a condition that is true or not."""
    deadline = time.monotonic() + seconds
    pauses = _pauses()
    while not (seen := look()):
        assert time.monotonic() < deadline, f"never happened within {seconds} s; last seen: {seen}"
        time.sleep(next(pauses))
    return seen


def _pauses() -> Iterator[float]:
    pause = _FIRST
    while True:
        yield pause
        pause = min(pause * 1.5, _LONGEST)
