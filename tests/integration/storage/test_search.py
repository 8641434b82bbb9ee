"""Listing deliveries: every filter, and pages without gaps."""

from __future__ import annotations

import pytest

from mediator.model.delivery import State
from mediator.storage.interface import Search
from tests.support.store import (
    DEAD,
    OK,
    SECOND,
    START,
    SUCCEEDED,
    Desk,
    again,
    output,
    ticket,
)


@pytest.fixture
async def listed(desk: Desk) -> Desk:
    """Six deliveries, a second apart: seq 1 to 6."""
    await desk.accept("a.py", ticket=ticket("7"), event="CREATE")
    await desk.run(SUCCEEDED)
    desk.later()
    await desk.accept("a.py", ticket=ticket("7"), event="ADVANCE")
    await desk.run(DEAD)
    desk.later()
    await desk.accept("b.py", ticket=ticket("8"), event="ADVANCE")
    await desk.claim()
    desk.later()
    delivery_id = await desk.accept("b.py", ticket=ticket("9"), event="CLOSE")
    await desk.store.cancel(delivery_id, now=desk.now, reason="by ops")
    desk.later()
    await desk.accept("a.py", ticket=ticket(None), event="")
    desk.later()
    await desk.accept("b.py", ticket=ticket("7"), event="CREATE")
    return desk


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (Search(), [6, 5, 4, 3, 2, 1]),
        (Search(script="a.py"), [5, 2, 1]),
        (Search(script="none.py"), []),
        (Search(event="CREATE"), [6, 1]),
        (Search(event=""), [5]),
        (Search(ticket="7"), [6, 2, 1]),
        (Search(ticket="70"), []),
        (Search(state=State.PENDING), [6, 5]),
        (Search(state=State.RUNNING), [3]),
        (Search(state=State.SUCCEEDED), [1]),
        (Search(state=State.DEAD), [2]),
        (Search(state=State.CANCELLED), [4]),
        (Search(since=START + 3 * SECOND), [6, 5, 4]),
        (Search(until=START + 2 * SECOND), [2, 1]),
        (Search(since=START + SECOND, until=START + 3 * SECOND), [3, 2]),
        (Search(limit=2), [6, 5]),
        (Search(after=3), [2, 1]),
        (Search(after=2**63 - 1, limit=1), [6]),
        (Search(script="a.py", ticket="7", event="ADVANCE", state=State.DEAD), [2]),
        (Search(script="a.py", ticket="7", event="ADVANCE", state=State.PENDING), []),
    ],
    ids=repr,
)
async def test_a_search_finds_what_fits_newest_first(
    listed: Desk, search: Search, expected: list[int]
) -> None:
    assert [delivery.seq for delivery in await listed.store.search(search)] == expected


async def test_a_list_shows_attempts_without_what_they_printed(desk: Desk) -> None:
    await desk.accept()
    await desk.run(again(desk.now))
    ended = type(OK)(outcome=OK.outcome, exit_code=0, stdout=output(b"x" * 1000))
    delivery_id = await desk.run(SUCCEEDED, ended)
    (found,) = await desk.store.search(Search())
    assert [attempt.exit_code for attempt in found.attempts] == [1, 0]
    assert found.attempts[1].stdout == output(b"")
    assert (await desk.find(delivery_id)).attempts[1].stdout == output(b"x" * 1000)


async def test_pages_have_no_gap_and_no_repeat_while_new_ones_arrive(desk: Desk) -> None:
    first = [await desk.accept() for _ in range(10)]
    seen: list[str] = []
    after = None
    while page := await desk.store.search(Search(limit=3, after=after)):
        seen += [delivery.id for delivery in page]
        after = page[-1].seq
        await desk.accept()
    assert seen == first[::-1]
