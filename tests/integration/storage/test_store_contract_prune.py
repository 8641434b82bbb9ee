"""What every store promises about removing: only what ended, oldest first, and all of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from mediator.errors import NotFound
from mediator.model.delivery import Repeat, State
from mediator.storage.interface import DeliveryStore, RetentionRule, Search
from mediator.storage.prune import LARGEST_AT_ONCE
from tests.support.store import (
    DEAD,
    FAILED,
    SECOND,
    START,
    SUCCEEDED,
    Desk,
    again,
    like,
    new,
)

FOR_EVER = START + timedelta(days=365)


def kept(**fields: Any) -> RetentionRule:
    """Nothing is, unless fields say otherwise."""
    values: dict[str, Any] = {
        "state": State.SUCCEEDED,
        "since": FOR_EVER,
        "most": None,
        "always_since": FOR_EVER,
    }
    return RetentionRule(**{**values, **fields})


async def ended(desk: Desk, count: int = 1, **fields: Any) -> list[str]:
    """So many that succeeded, a second apart."""
    ids = []
    for _ in range(count):
        await desk.accept(**fields)
        ids.append(await desk.run())
        desk.later()
    return ids


async def all_removed(store: DeliveryStore, wanted: RetentionRule) -> int:
    total = 0
    while count := await store.remove(wanted):
        total += count
    return total


async def left(store: DeliveryStore) -> set[str]:
    return {delivery.id for delivery in await store.search(Search(limit=500))}


async def test_what_is_old_goes_with_all_that_belongs_to_it(desk: Desk) -> None:
    old, young = await ended(desk, 2)
    assert await all_removed(desk.store, kept(since=START)) == 1
    assert await left(desk.store) == {young}
    with pytest.raises(NotFound):
        await desk.find(old)
    assert len((await desk.find(young)).attempts) == 1


async def test_of_too_many_those_that_ended_first_go(desk: Desk) -> None:
    ids = await ended(desk, 5)
    assert await all_removed(desk.store, kept(since=None, most=2)) == 3
    assert await left(desk.store) == set(ids[3:])
    assert await all_removed(desk.store, kept(since=None, most=2)) == 0


async def test_exactly_so_many_stay_of_those_that_ended_at_once(desk: Desk) -> None:
    for _ in range(5):
        await desk.accept()
    for claim in await desk.claim():
        await desk.finish(claim)
    assert await all_removed(desk.store, kept(since=None, most=2)) == 3


async def test_what_is_neither_old_nor_too_much_stays(desk: Desk) -> None:
    ids = await ended(desk, 2)
    assert await all_removed(desk.store, kept(since=None, most=None)) == 0
    assert await all_removed(desk.store, kept(since=START - SECOND, most=2)) == 0
    assert await left(desk.store) == set(ids)


@pytest.mark.parametrize(
    "rule", [{"since": FOR_EVER}, {"since": None, "most": 0}], ids=["by age", "by number"]
)
async def test_what_must_stay_stays_whatever_its_age_and_number(
    desk: Desk, rule: dict[str, Any]
) -> None:
    ids = await ended(desk, 3)
    assert await all_removed(desk.store, kept(**rule, always_since=START)) == 1
    assert await left(desk.store) == set(ids[1:])


async def test_what_seems_to_have_ended_before_it_came_stays_as_well(desk: Desk) -> None:
    (stays,) = await ended(desk, at=START + timedelta(0))
    assert await all_removed(desk.store, kept(always_since=START - SECOND)) == 0
    assert await left(desk.store) == {stays}


async def test_each_state_goes_by_its_own_rule(desk: Desk) -> None:
    (succeeded,) = await ended(desk)
    await desk.accept()
    dead = await desk.run(DEAD)
    cancelled = await desk.accept()
    await desk.store.cancel(cancelled, now=desk.now, reason="")
    for state, going in (
        (State.DEAD, dead),
        (State.CANCELLED, cancelled),
        (State.SUCCEEDED, succeeded),
    ):
        before = await left(desk.store)
        assert await all_removed(desk.store, kept(state=state)) == 1
        assert before - await left(desk.store) == {going}


async def test_nothing_that_waits_or_runs_ever_goes(desk: Desk) -> None:
    retried, running, waiting = await desk.accept(), await desk.accept(), await desk.accept()
    first, *_ = await desk.claim(slots=2)
    await desk.finish(first, again(desk.now + SECOND), FAILED)
    again_pending = await ended_and_retried(desk)
    for state in State:
        assert await all_removed(desk.store, kept(state=state, most=0)) == 0
    assert await left(desk.store) == {retried, running, waiting, again_pending}


async def ended_and_retried(desk: Desk) -> str:
    delivery_id = await desk.accept("b.py")
    (claim,) = await desk.claim(room={"b.py": 1})
    await desk.finish(claim, SUCCEEDED)
    await desk.store.retry(delivery_id, now=desk.now)
    return delivery_id


async def test_a_removed_delivery_is_no_longer_repeated(desk: Desk) -> None:
    first = new()
    await desk.store.accept(first)
    await desk.run()
    await all_removed(desk.store, kept())
    resent = like(first, idempotency_key=first.idempotency_key)
    assert (await desk.store.accept(resent)).repeat is Repeat.NEW


async def test_few_go_at_once(desk: Desk) -> None:
    await ended(desk, body=bytes(LARGEST_AT_ONCE))
    await ended(desk, 4)
    assert await desk.store.remove(kept()) == 1, "however large, one goes"
    assert await desk.store.remove(kept()) == 4


async def test_space_is_given_back_until_little_is_unused(desk: Desk) -> None:
    await ended(desk, 20, body=bytes(200_000), deduplicate_since=None)
    assert not await desk.store.vacuum_step()
    await all_removed(desk.store, kept())
    while await desk.store.vacuum_step():
        pass
    at: datetime = desk.now
    assert await ended(desk, 1, at=at), "it is as good as new"
