"""How late the event loop is: everything the daemon does waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY = 0.5
"""Seconds between two looks."""


async def watch_lag(observe: Callable[[float], None], *, every: float = EVERY) -> None:
    """Again and again tell how many seconds too late this was woken, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        observe(max(0.0, loop.time() - due))
