"""An event loop that is held up is seen to be late."""

from __future__ import annotations

import asyncio
import time

from mediator.daemon.daemon import watch_lag

HELD = 0.2
"""Seconds that something keeps the loop from everything else."""


async def test_a_loop_that_is_held_up_is_late_by_that(no_task_left: None) -> None:
    del no_task_left
    seen: list[float] = []
    told = asyncio.Event()

    def observe(late: float) -> None:
        seen.append(late)
        told.set()

    watching = asyncio.create_task(watch_lag(observe, every=0.01))
    await asyncio.sleep(0)  # it has begun to wait
    time.sleep(HELD)  # noqa: ASYNC251 - what is looked for
    await told.wait()
    watching.cancel()
    await asyncio.wait({watching})
    assert seen[0] >= HELD - 0.01
    assert all(late >= 0 for late in seen)
