"""Rectangles stay in their charts, and ends are counted once and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import pytest

from mediator.model.delivery import Attempt, Outcome, State
from mediator.storage.interface import DeliveryStore
from mediator.storage.memory import MemoryStore
from mediator.web.console.charts import STEP, STEPS, Bar, Throughput, stacked, timeline
from tests.support.store import DEAD, SECOND, START, SUCCEEDED, Desk
from tests.unit.dispatch.support import Clock

HEIGHT, WIDTH = 100.0, 400.0


def inside(bars: list[Bar]) -> bool:
    return all(
        bar.x >= 0
        and bar.y >= 0
        and bar.x + bar.width <= WIDTH + 0.02
        and bar.y + bar.height <= HEIGHT + 0.02
        and bar.width > 0
        and bar.height > 0
        for bar in bars
    )


def test_the_highest_column_fills_the_chart_and_nothing_is_no_bar() -> None:
    columns = [{State.SUCCEEDED: 6, State.DEAD: 2}, {}, {State.SUCCEEDED: 4}]
    bars = stacked(columns, width=WIDTH, height=HEIGHT, gap=2.0)
    assert [(bar.tone, bar.y, bar.height) for bar in bars] == [
        ("bad", 75.0, 25.0),
        ("good", 0.0, 75.0),
        ("good", 50.0, 50.0),
    ]
    assert inside(bars)


def test_one_failure_among_a_million_is_seen() -> None:
    bars = stacked([{State.SUCCEEDED: 10**6, State.DEAD: 1}], width=WIDTH, height=HEIGHT, gap=2.0)
    assert [(bar.tone, bar.height) for bar in bars] == [("bad", 2.0), ("good", 98.0)]


@pytest.mark.parametrize("columns", [[], [{}], [{}] * 48])
def test_a_chart_of_nothing_is_empty(columns: list[dict[State, int]]) -> None:
    assert stacked(columns, width=WIDTH, height=HEIGHT, gap=2.0) == []


def attempt(number: int, begin: float, end: float | None, outcome: Outcome | None) -> Attempt:
    return Attempt(
        number=number,
        started=START + begin * SECOND,
        ended=None if end is None else START + end * SECOND,
        outcome=outcome,
    )


def test_attempts_lie_where_they_ran() -> None:
    attempts = [attempt(1, 0, 1, Outcome.FAILED), attempt(2, 3, 4, Outcome.OK)]
    bars = timeline(attempts, begin=START, now=START, width=WIDTH, height=HEIGHT)
    assert [(bar.x, bar.width, bar.tone) for bar in bars] == [
        (0.0, 100.0, "bad"),
        (300.0, 100.0, "good"),
    ]


@pytest.mark.parametrize(
    "now",
    [START, START - timedelta(days=1), START + timedelta(days=300)],
    ids=["now", "a clock set back", "much later"],
)
def test_one_that_runs_reaches_to_now_whatever_the_clock_says(now: object) -> None:
    attempts = [attempt(1, 0, 0, Outcome.FAILED), attempt(2, 5, None, None)]
    bars = timeline(attempts, begin=START, now=now, width=WIDTH, height=HEIGHT)  # type: ignore[arg-type]
    assert [bar.tone for bar in bars] == ["bad", "busy"]
    assert inside(bars)


DAY = STEP * STEPS


@dataclass
class Ends:
    """A store that remembers of how long a time it was asked for the ends."""

    store: MemoryStore
    asked: list[timedelta] = field(default_factory=list)

    async def ends(
        self, *, since: datetime, until: datetime, step: timedelta
    ) -> Mapping[tuple[int, State], int]:
        self.asked.append(until - since)
        return await self.store.ends(since=since, until=until, step=step)

    async def add(self, at: datetime, state: State) -> None:
        """A delivery that ended then."""
        desk = Desk(self.store, now=at)
        await desk.accept()
        await desk.run(DEAD if state is State.DEAD else SUCCEEDED)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    store = MemoryStore()
    await store.start()
    yield Ends(store)
    await store.close()


@pytest.fixture
def throughput(ends: Ends, clock: Clock) -> Throughput:
    return Throughput(cast("DeliveryStore", ends), clock)


async def counts(throughput: Throughput) -> list[int]:
    return [slot.counts.total() for slot in await throughput.slots()]


async def test_the_last_day_is_counted_up_to_now(
    throughput: Throughput, ends: Ends, clock: Clock
) -> None:
    await ends.add(clock.now(), State.DEAD)
    await ends.add(clock.now() - STEP, State.SUCCEEDED)
    await ends.add(clock.now() - DAY + STEP, State.SUCCEEDED)
    await ends.add(clock.now() - DAY - STEP, State.SUCCEEDED)
    slots = await throughput.slots()
    assert len(slots) == STEPS
    assert slots[-1].counts == {State.DEAD: 1}
    assert slots[-1].begin <= clock.now() < slots[-1].begin + STEP
    assert [slot.counts.total() for slot in slots].count(1) == 3


async def test_what_lies_behind_is_not_counted_again(
    throughput: Throughput, ends: Ends, clock: Clock
) -> None:
    await ends.add(clock.now() - 5 * STEP, State.SUCCEEDED)
    await throughput.slots()
    clock.time += timedelta(seconds=10)
    await ends.add(clock.now(), State.SUCCEEDED)
    found = await counts(throughput)
    assert (found[-1], found[-6], sum(found)) == (1, 1, 2)
    assert ends.asked[0] == DAY
    assert ends.asked[1] <= 2 * STEP


async def test_an_end_that_is_recorded_late_is_counted(
    throughput: Throughput, ends: Ends, clock: Clock
) -> None:
    await throughput.slots()
    begin = (await throughput.slots())[-1].begin
    clock.time = begin + STEP + timedelta(seconds=5)
    await throughput.slots()
    await ends.add(begin + STEP - timedelta(seconds=1), State.DEAD)
    clock.time += timedelta(seconds=5)
    assert (await counts(throughput))[-2:] == [1, 0]


async def test_many_who_look_at_once_count_once(throughput: Throughput, ends: Ends) -> None:
    await asyncio.gather(*(throughput.slots() for _ in range(20)))
    assert len(ends.asked) == 1


async def test_time_goes_on_and_memory_does_not_grow(
    throughput: Throughput, ends: Ends, clock: Clock
) -> None:
    for _ in range(200):
        clock.time += STEP
        assert len(await throughput.slots()) == STEPS
    assert len(throughput) <= STEPS
    assert max(ends.asked[1:]) <= 3 * STEP
