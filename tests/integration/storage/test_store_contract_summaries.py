"""What the console asks of every store."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import timedelta
from itertools import pairwise

import pytest

from mediator.errors import NotFound
from mediator.model.delivery import State
from mediator.storage.interface import DeliveryStore, Search
from tests.support.store import DEAD, SECOND, START, SUCCEEDED, Desk

MINUTE = timedelta(minutes=1)


async def test_a_ticket_comes_back_byte_for_byte(desk: Desk) -> None:
    body = bytes(range(256)) * 3
    assert await desk.store.body(await desk.accept(body=body)) == body


async def test_there_is_no_ticket_of_an_unknown_delivery(store: DeliveryStore) -> None:
    with pytest.raises(NotFound):
        await store.body("nope")


async def test_ends_are_counted_by_step_and_state(desk: Desk) -> None:
    for verdict, seconds in ((SUCCEEDED, 59), (SUCCEEDED, 1), (DEAD, 60), (DEAD, 60)):
        await desk.accept()
        await desk.run(verdict)
        desk.later(seconds)
    cancelled = await desk.accept()
    await desk.store.cancel(cancelled, now=desk.now, reason="")
    await desk.accept()  # has not ended
    found = await desk.store.ends(since=START, until=START + 3 * MINUTE, step=MINUTE)
    assert found == {(0, State.SUCCEEDED): 2, (1, State.DEAD): 1, (2, State.DEAD): 1}
    found = await desk.store.ends(since=START, until=START + 4 * MINUTE, step=MINUTE)
    assert found[3, State.CANCELLED] == 1


async def test_nothing_ended_is_no_count(store: DeliveryStore) -> None:
    assert await store.ends(since=START, until=START + MINUTE, step=SECOND) == {}


async def test_recent_deliveries_are_the_latest_of_each_script(desk: Desk) -> None:
    first, second, third = [await desk.accept("a.py") for _ in range(3)]
    other = await desk.accept("b.py")
    found = await desk.store.recent(["a.py", "b.py", "none.py"], most=2)
    assert {script: [d.id for d in items] for script, items in found.items()} == {
        "a.py": [third, second],
        "b.py": [other],
        "none.py": [],
    }
    assert first not in {d.id for d in found["a.py"]}


async def test_a_place_is_the_first_of_a_time(desk: Desk) -> None:
    for _ in range(5):
        await desk.accept()
        desk.later(10)
    seqs = sorted(d.seq for d in await desk.store.search(Search()))
    place = desk.store.seq_at
    assert await place(START - SECOND) <= seqs[0]
    assert seqs[1] < await place(START + 11 * SECOND) <= seqs[2]
    assert seqs[1] < await place(START + 20 * SECOND) <= seqs[2]
    assert await place(START + 41 * SECOND) > seqs[4]


async def test_a_place_in_an_empty_store_is_the_beginning(store: DeliveryStore) -> None:
    assert await store.seq_at(START) == 1


async def test_a_search_looks_no_further_back_than_its_floor(desk: Desk) -> None:
    for _ in range(3):
        await desk.accept()
    newest, middle, _ = await desk.store.search(Search())
    found = await desk.store.search(Search(floor=middle.seq))
    assert [d.seq for d in found] == [newest.seq, middle.seq]


async def test_the_change_token_changes_with_every_step_of_a_delivery(desk: Desk) -> None:
    seen: list[Hashable] = [await desk.store.change_token()]

    async def feel() -> None:
        seen.append(await desk.store.change_token())

    await desk.accept()
    await feel()
    (claim,) = await desk.claim()
    await feel()
    await desk.store.cancel(claim.delivery.id, now=desk.now, reason="")
    await feel()
    await desk.finish(claim, DEAD)
    await feel()
    desk.later()
    await desk.store.retry(claim.delivery.id, now=desk.now)
    await feel()
    assert all(before != after for before, after in pairwise(seen)), seen
    assert await desk.store.change_token() == seen[-1]
