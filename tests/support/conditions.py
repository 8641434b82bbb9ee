"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds; generous, because machines are busy."""
_PAUSE = 0.02


async def eventually(
    look: Callable[[], Awaitable[T]],
    *,
    until: Callable[[T], bool] = bool,
    seconds: float = DEADLINE,
) -> T:
    """Look again and again until `until` is true of what is seen; that is returned."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await look()
        if until(seen):
            return seen
        assert time.monotonic() < deadline, f"never happened within {seconds} s; last seen: {seen}"
        await asyncio.sleep(_PAUSE)


def eventually_true(look: Callable[[], T], *, seconds: float = DEADLINE) -> T:
    """The same without an event loop, for a condition that is true or not."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"never happened within {seconds} s; last seen: {seen}"
        time.sleep(_PAUSE)
    return seen
