"""The contract of a store: what it counts for metrics, and what it tells of fates."""

from __future__ import annotations

import os

from mediator.model.delivery import Fate, State, Waiting
from tests.support.store import DEAD, SECOND, START, SUCCEEDED, Desk, again


async def test_an_empty_store_has_nothing_to_count(desk: Desk) -> None:
    census = await desk.store.census(now=desk.now)
    assert census.pending == 0
    assert census.oldest_pending is None
    assert census.by_state == dict.fromkeys(State, 0)


async def test_what_waits_is_counted_by_script_and_call(desk: Desk) -> None:
    await desk.accept("a.py", at=START + SECOND)
    await desk.accept("a.py")
    await desk.accept("a.py", interactive=True)
    await desk.accept("b.py")
    census = await desk.store.census(now=desk.now + SECOND)
    found = {group.calls: group for group in census.waiting}
    assert found == {
        calls: Waiting(calls=calls, pending=pending, retrying=0, first_due=START)
        for calls, pending in ((("a.py", False), 2), (("a.py", True), 1), (("b.py", False), 1))
    }
    assert census.pending == 4
    assert census.oldest_pending == START + SECOND, "that which arrived first"


async def test_a_retry_waits_for_its_time_until_it_has_come(desk: Desk) -> None:
    await desk.accept()
    due = desk.now + 10 * SECOND
    await desk.run(again(due))
    before = (await desk.store.census(now=due - SECOND)).waiting
    assert before == [Waiting(calls=("a.py", False), pending=1, retrying=1, first_due=due)]
    at = (await desk.store.census(now=due)).waiting
    assert at == [Waiting(calls=("a.py", False), pending=1, retrying=0, first_due=due)]


async def test_every_delivery_is_counted_in_one_state(desk: Desk) -> None:
    for verdict in (SUCCEEDED, DEAD, DEAD):
        await desk.accept()
        await desk.run(verdict)
    await desk.accept("b.py", interactive=True)
    await desk.claim()
    cancelled = await desk.accept()
    await desk.store.cancel(cancelled, now=desk.now, reason="by ops")
    await desk.accept("b.py")
    census = await desk.store.census(now=desk.now)
    assert census.by_state == {
        State.PENDING: 1,
        State.RUNNING: 1,
        State.SUCCEEDED: 1,
        State.DEAD: 2,
        State.CANCELLED: 1,
    }
    assert census.running == {("b.py", True): 1}
    assert census.dead == {("a.py", False): 2}


async def test_the_size_grows_with_what_is_kept(desk: Desk) -> None:
    before = await desk.store.size()
    await desk.accept(body=os.urandom(2**20))
    after = await desk.store.size()
    assert before
    assert after
    assert after - before >= 2**19, "give or take pages that were there"


async def test_what_was_lost_is_told_with_what_became_of_it(desk: Desk) -> None:
    kept = await desk.accept("a.py", event="CREATE")
    stopped = await desk.accept("b.py")
    await desk.claim()
    await desk.store.cancel(stopped, now=desk.now, reason="by ops")
    fates = await desk.store.recover(await desk.store.held(), now=desk.now)
    assert {fate.id: (fate.script, fate.event, fate.state) for fate in fates} == {
        kept: ("a.py", "CREATE", State.PENDING),
        stopped: ("b.py", "ADVANCE", State.CANCELLED),
    }


async def test_what_came_too_late_is_told(desk: Desk) -> None:
    late = await desk.accept(interactive=True, expires=desk.now + SECOND)
    assert await desk.store.expire(now=desk.now + 2 * SECOND) == [
        Fate(
            id=late,
            ticket_id=(await desk.find(late)).ticket.id,
            script="a.py",
            event="ADVANCE",
            interactive=True,
            state=State.CANCELLED,
            reason="no slot was free before the caller's deadline",
            budget_start=START,
        )
    ]
