"""Waiting for events ends by them, or when the time is over."""

from __future__ import annotations

import asyncio

import pytest

from mediator.clock import wait_for_any, wait_for_event


@pytest.fixture
def event() -> asyncio.Event:
    return asyncio.Event()


async def test_a_wait_ends_by_its_event_or_in_time(
    event: asyncio.Event, no_task_left: None
) -> None:
    del no_task_left
    assert not await wait_for_event(event, seconds=0.01)
    event.set()
    assert await wait_for_event(event, seconds=60)
    assert await wait_for_event(event, seconds=None)


async def test_a_wait_for_several_ends_by_any_of_them(
    event: asyncio.Event, no_task_left: None
) -> None:
    del no_task_left
    never = asyncio.Event()
    assert not await wait_for_any(never, event, seconds=0.01)
    waiting = asyncio.create_task(wait_for_any(never, event, seconds=60))
    await asyncio.sleep(0)
    event.set()
    assert await waiting


async def test_a_wait_for_several_that_is_cancelled_leaves_nothing_behind(
    event: asyncio.Event, no_task_left: None
) -> None:
    del no_task_left
    waiting = asyncio.create_task(wait_for_any(event, seconds=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
