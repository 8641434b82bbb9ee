"""Hints reach whoever waits, and none is lost between two looks."""

from __future__ import annotations

import asyncio
import weakref

from mediator.storage.notices import Notices


async def woken(waiting: asyncio.Task[None]) -> bool:
    """Whether the wait has ended by now."""
    for _ in range(5):
        await asyncio.sleep(0)
    return waiting.done()


async def test_a_wait_ends_by_time() -> None:
    await Notices().wait_for_work(0)


async def test_a_wait_ends_with_work() -> None:
    notices = Notices()
    waiting = asyncio.create_task(notices.wait_for_work(3600))
    assert not await woken(waiting)
    notices.work()
    assert await woken(waiting)


async def test_a_hint_before_the_wait_is_not_lost_and_counts_once() -> None:
    notices = Notices()
    notices.work()
    notices.work()
    await notices.wait_for_work(3600)
    waiting = asyncio.create_task(notices.wait_for_work(3600))
    assert not await woken(waiting)
    waiting.cancel()


async def test_what_is_not_wanted_wakes_nobody() -> None:
    notices = Notices()
    notices.want(lambda script, interactive: script == "a.py" and interactive)
    waiting = asyncio.create_task(notices.wait_for_work(3600))
    notices.work("b.py", interactive=True)
    notices.work("a.py")
    assert not await woken(waiting)
    notices.work("a.py", interactive=True)
    assert await woken(waiting)


async def test_a_hint_about_everything_is_always_wanted() -> None:
    notices = Notices()
    notices.want(lambda _script, _interactive: False)
    notices.work()
    await notices.wait_for_work(3600)


async def test_everyone_who_watches_a_delivery_is_told() -> None:
    notices = Notices()
    with notices.watch("1") as first, notices.watch("1") as second, notices.watch("2") as other:
        notices.ended(["1", "unwatched"])
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
    with notices.watch("1") as later:
        assert not later.is_set(), "from now on"
    gone = weakref.ref(later)
    del later
    assert gone() is None, "nothing is kept of who left"
