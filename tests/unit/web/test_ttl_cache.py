"""What was seen is believed for a while, and many who look at once look once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from mediator.web.ttl_cache import TtlCache
from tests.unit.dispatch.support import Clock

SECOND = timedelta(seconds=1)


@dataclass
class Numbers:
    """Says another number each time it is looked at, after as long as a test says."""

    clock: Clock
    seen: int = 0
    took: timedelta = timedelta(0)
    away: bool = False

    async def look(self) -> int:
        await asyncio.sleep(0)
        if self.away:
            raise RuntimeError("away")
        self.clock.time += self.took
        self.seen += 1
        return self.seen


@pytest.fixture
def numbers() -> Numbers:
    return Numbers(Clock())


@pytest.fixture
def cache(numbers: Numbers) -> TtlCache[int]:
    return TtlCache(numbers.look, numbers.clock)


async def test_what_is_young_enough_is_not_looked_at_again(
    cache: TtlCache[int], numbers: Numbers
) -> None:
    assert await cache.get(SECOND) == 1
    numbers.clock.time += SECOND / 2
    assert await cache.get(SECOND) == 1
    assert await cache.get(SECOND / 2) == 2, "each says how old it may be"
    numbers.clock.time += SECOND
    assert await cache.get(SECOND) == 3


async def test_many_who_look_at_once_look_once(cache: TtlCache[int], numbers: Numbers) -> None:
    found = await asyncio.gather(*(cache.get(timedelta(0)) for _ in range(20)))
    assert set(found) == {1, 2} or set(found) == {1}
    assert numbers.seen <= 2, "the one that was under way, and one for who asked meanwhile"


async def test_a_look_that_fails_is_not_remembered(cache: TtlCache[int], numbers: Numbers) -> None:
    assert await cache.get(SECOND) == 1
    numbers.clock.time += SECOND
    numbers.away = True
    with pytest.raises(RuntimeError):
        await cache.get(SECOND)
    numbers.away = False
    assert await cache.get(SECOND) == 2


async def test_a_clock_that_is_set_back_makes_nothing_young(
    cache: TtlCache[int], numbers: Numbers
) -> None:
    await cache.get(SECOND)
    numbers.clock.time -= timedelta(days=1)
    assert await cache.get(SECOND) == 2


async def test_it_says_how_long_looking_took(cache: TtlCache[int], numbers: Numbers) -> None:
    numbers.took = 2 * SECOND
    await cache.get(SECOND)
    assert cache.took == 2 * SECOND
