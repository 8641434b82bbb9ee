"""Deliveries that ended long ago go, those that may be repeated stay, and trouble passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from mediator.dispatch.retention import Cleaner
from mediator.metrics import Metrics
from mediator.model.delivery import State
from mediator.settings.schema import Retention
from mediator.storage.interface import Search
from mediator.storage.memory import MemoryStore
from tests.support.conditions import eventually
from tests.support.metrics import sample
from tests.support.store import DEAD, Desk, FaultyStore
from tests.unit.dispatch.support import NOW, Clock

DAY = timedelta(days=1)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    metrics = Metrics()
    store = MemoryStore(metrics=metrics)
    await store.start()
    yield Desk(FaultyStore(store, metrics), now=NOW)
    await store.close()


def cleaner(desk: Desk, *, deduplicate: timedelta = DAY, **settings: Any) -> Cleaner:
    store: Any = desk.store
    return Cleaner(
        store=store,
        settings=Retention.model_validate(settings),
        deduplicate=deduplicate,
        metrics=store.metrics,
        clock=Clock(desk.now),
        every=timedelta(0),
        pause=timedelta(0),
    )


@asynccontextmanager
async def at_work(cleaner: Cleaner) -> AsyncIterator[None]:
    task = asyncio.create_task(cleaner.run())
    yield
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def left(desk: Desk) -> set[str]:
    return {delivery.id for delivery in await desk.store.search(Search(limit=500))}


async def three(desk: Desk) -> dict[State, str]:
    """One of each state that is an end."""
    await desk.accept()
    succeeded = await desk.run()
    await desk.accept()
    dead = await desk.run(DEAD)
    cancelled = await desk.accept()
    await desk.store.cancel(cancelled, now=desk.now, reason="")
    return {State.SUCCEEDED: succeeded, State.DEAD: dead, State.CANCELLED: cancelled}


async def test_each_state_is_kept_for_its_time(desk: Desk) -> None:
    ids = await three(desk)
    waiting = await desk.accept()
    for days, gone in ((29, []), (30, ["succeeded", "cancelled"]), (180, list(ids))):
        desk.now = NOW + days * DAY
        done = cleaner(desk)
        await done.clean()
        assert await left(desk) == {waiting, *(ids[s] for s in ids if s not in gone)}
    assert sample(done.metrics, "mediator_deliveries_removed_total", state="dead") == 1


async def test_zero_is_for_ever(desk: Desk) -> None:
    ids = await three(desk)
    desk.now += 9999 * DAY
    await cleaner(desk, succeeded="0s", cancelled="0s", dead="0s", most=0).clean()
    assert await left(desk) == set(ids.values())


@pytest.mark.parametrize(
    ("deduplicate", "least"),
    [(2 * DAY, 2 * DAY), (timedelta(0), timedelta(hours=1))],
    ids=["the window", "no window, but a caller may send again"],
)
@pytest.mark.parametrize("rule", [{"succeeded": "1s"}, {"most": 1}], ids=["by age", "by number"])
async def test_what_may_be_repeated_stays(
    desk: Desk, deduplicate: timedelta, least: timedelta, rule: dict[str, Any]
) -> None:
    for _ in range(2):
        await desk.accept()
        await desk.run()
    desk.now = NOW + least - timedelta(seconds=1)
    await cleaner(desk, deduplicate=deduplicate, **rule).clean()
    assert len(await left(desk)) == 2
    desk.now = NOW + least
    await cleaner(desk, deduplicate=deduplicate, **rule).clean()
    assert len(await left(desk)) < 2


async def test_a_store_that_is_away_is_tried_again(desk: Desk) -> None:
    store: Any = desk.store
    await three(desk)
    desk.now += 180 * DAY
    store.away.add("remove")
    made = cleaner(desk)
    async with at_work(made):
        await eventually(lambda: asyncio.sleep(0, store.refused["remove"] >= 2))
        store.away.clear()
        await eventually(lambda: left(desk), until=lambda ids: not ids)
    assert sample(made.metrics, "mediator_store_errors_total") >= 2
