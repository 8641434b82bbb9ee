"""What is let in, and how rarely the store is asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from mediator.errors import Crowded, Full, StoreUnavailable
from mediator.settings.schema import Store
from mediator.storage.interface import DeliveryStore
from mediator.web.backpressure import Backpressure
from tests.support.store import new
from tests.unit.dispatch.support import Clock

MIB = 2**20


@dataclass
class Stock:
    """Counts how often it is asked, and takes as long as a test says."""

    clock: Clock
    by_script: dict[str, int] = field(default_factory=dict)
    left: int | None = None
    took: timedelta = timedelta(milliseconds=100)
    counts: int = 0
    glances: int = 0
    away: bool = False

    async def waiting(self) -> Mapping[str, int]:
        self.counts += 1
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        self.clock.time += self.took
        return dict(self.by_script)

    async def free(self) -> int | None:
        self.glances += 1
        await asyncio.sleep(0)
        return self.left


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stock(clock: Clock) -> Stock:
    return Stock(clock)


def pressed(stock: Stock, **settings: Any) -> Backpressure:
    return Backpressure(cast("DeliveryStore", stock), Store(**settings), stock.clock)


async def test_it_lets_in_what_there_is_room_for_and_no_more(stock: Stock) -> None:
    stock.by_script = {"a.py": 2}
    door = pressed(stock, most_pending=4)
    await door.admit([new("a.py")])
    await door.admit([new("b.py")])
    with pytest.raises(Full, match=r"4 deliveries wait .*store\.most_pending allows 4"):
        await door.admit([new("b.py")])


async def test_a_crowded_script_leaves_room_for_the_others(stock: Stock) -> None:
    stock.by_script = {"a.py": 3}
    door = pressed(stock, most_pending_per_script=3)
    with pytest.raises(Crowded, match=r"a\.py .*store\.most_pending_per_script allows 3"):
        await door.admit([new("a.py")])
    await door.admit([new("b.py")])


async def test_of_deliveries_that_belong_together_all_find_room_or_none_takes_any(
    stock: Stock,
) -> None:
    stock.by_script = {"b.py": 1}
    door = pressed(stock, most_pending=3, most_pending_per_script=1)
    with pytest.raises(Crowded):
        await door.admit([new("a.py"), new("b.py")])
    await door.admit([new("a.py")])


async def test_whom_a_person_waits_for_is_let_in(stock: Stock) -> None:
    stock.by_script = {"a.py": 9}
    await pressed(stock, most_pending=1, most_pending_per_script=1).admit([new(interactive=True)])


async def test_nothing_is_counted_per_request(stock: Stock) -> None:
    door = pressed(stock)
    await asyncio.gather(*(door.admit([new()]) for _ in range(500)))
    assert (stock.counts, stock.glances) == (1, 1)


async def test_what_ran_meanwhile_has_made_room(stock: Stock, clock: Clock) -> None:
    stock.by_script = {"a.py": 1}
    door = pressed(stock, most_pending=1)
    with pytest.raises(Full):
        await door.admit([new()])
    stock.by_script = {}
    clock.time += timedelta(seconds=1)
    await door.admit([new()])


async def test_nobody_is_refused_by_an_old_count_when_counting_is_quick(stock: Stock) -> None:
    stock.by_script, stock.took = {"a.py": 1}, timedelta(milliseconds=50)
    door = pressed(stock, most_pending=1)
    with pytest.raises(Full):
        await door.admit([new()])
    stock.by_script = {}
    await door.admit([new()])


async def test_many_who_would_be_refused_share_a_count(stock: Stock) -> None:
    stock.by_script, stock.took = {"a.py": 1}, timedelta(milliseconds=50)
    door = pressed(stock, most_pending=1)
    with pytest.raises(Full):
        await door.admit([new()])
    before = stock.counts
    answers = await asyncio.gather(
        *(door.admit([new()]) for _ in range(500)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {Full}
    assert stock.counts <= before + 2, "the one that was under way, and one for all the others"


async def test_counting_takes_a_tenth_of_the_time_at_most(stock: Stock, clock: Clock) -> None:
    stock.by_script = {"a.py": 1}
    door = pressed(stock, most_pending=1)
    for _ in range(5):
        with pytest.raises(Full):
            await door.admit([new()])
    assert stock.counts == 1
    clock.time += timedelta(seconds=1)
    with pytest.raises(Full):
        await door.admit([new()])
    assert stock.counts == 2


async def test_what_operators_made_wait_again_is_seen_after_a_while(
    stock: Stock, clock: Clock
) -> None:
    door = pressed(stock, most_pending=2)
    await door.admit([new()])
    stock.by_script = {"a.py": 2}
    clock.time += timedelta(seconds=5)
    with pytest.raises(Full):
        await door.admit([new()])


async def test_a_clock_that_was_set_back_does_not_keep_an_old_count(
    stock: Stock, clock: Clock
) -> None:
    door = pressed(stock, most_pending=2)
    await door.admit([new()])
    stock.by_script = {"a.py": 2}
    clock.time -= timedelta(days=1)
    with pytest.raises(Full):
        await door.admit([new()])


async def test_a_store_that_is_away_is_not_taken_for_an_empty_one(stock: Stock) -> None:
    door = pressed(stock)
    stock.away = True
    with pytest.raises(StoreUnavailable):
        await door.admit([new()])
    stock.away = False
    await door.admit([new()])


@pytest.mark.parametrize("interactive", [True, False], ids=["interactive", "trigger"])
async def test_nothing_is_let_in_when_the_disk_is_nearly_full(
    stock: Stock, clock: Clock, interactive: bool
) -> None:
    stock.left = 10 * MIB - 1
    door = pressed(stock, disk_floor=10 * MIB)
    with pytest.raises(Full, match=r"9 MiB left, and store\.disk_floor keeps 10 MiB free"):
        await door.admit([new(interactive=interactive)])
    assert "9 MiB" in await door.disk()
    stock.left = 10 * MIB
    clock.time += timedelta(seconds=1)
    await door.admit([new(interactive=interactive)])
    assert await door.disk() == ""


@pytest.mark.parametrize(
    ("left", "floor"), [(0, 0), (None, 10 * MIB)], ids=["no floor", "no disk to look at"]
)
async def test_a_disk_can_be_nobody_s_concern(stock: Stock, left: int | None, floor: int) -> None:
    stock.left = left
    await pressed(stock, disk_floor=floor).admit([new()])
