"""What a runner keeps of an attempt is cleared away once its end is recorded, by whomever."""

from __future__ import annotations

import pytest

from mediator.dispatch.leases import GarbageCollector
from tests.integration.dispatch.support import House
from tests.support.store import DEAD, Desk, again
from tests.unit.dispatch.support import NOW, Scripts, script


@pytest.fixture
def house(house: House) -> House:
    house.scripts = Scripts.of(script("a.py", runner="kubernetes"))
    house.dispatcher = house.another()
    return house


@pytest.fixture
def desk(house: House) -> Desk:
    """The mediator before, which is killed after it has recorded an end."""
    return Desk(house.store, owner="before", now=NOW)


@pytest.fixture
def garbage(house: House) -> GarbageCollector:
    return GarbageCollector(store=house.store, runners=house.runners)


async def test_a_mediator_that_has_started_clears_away_what_an_earlier_one_recorded(
    house: House, desk: Desk
) -> None:
    delivery_id = await house.accept()
    await desk.run(DEAD)
    house.cluster.keeps = {f"{delivery_id}-1"}
    house.renewing_often()
    house.begin()
    await house.until(lambda: house.cluster.forgotten == [f"{delivery_id}-1"])
    assert house.runner.runs == []


async def test_an_attempt_that_is_not_recorded_keeps_everything(
    house: House, desk: Desk, garbage: GarbageCollector
) -> None:
    delivery_id = await house.accept()
    await desk.run(again(NOW))
    await desk.claim()
    house.cluster.keeps = {f"{delivery_id}-{number}" for number in (1, 2, 3)}
    await garbage.collect()
    assert house.cluster.forgotten == [f"{delivery_id}-1"]
    await garbage.collect()
    assert house.cluster.keeps == {f"{delivery_id}-2", f"{delivery_id}-3"}


@pytest.mark.parametrize("name", ["0190-there-1", "", "no-number-", "-1"])
async def test_what_belongs_to_another_store_is_let_alone_and_asked_about_once(
    house: House, garbage: GarbageCollector, name: str
) -> None:
    house.cluster.keeps = {name}
    for _ in range(3):
        await garbage.collect()
    assert house.cluster.forgotten == []
    assert house.store.calls["find"] == 1
