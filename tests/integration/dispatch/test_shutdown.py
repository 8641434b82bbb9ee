"""Stopping: claim no more, drain, cut; what was cut is pending again and cost nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from mediator.model.delivery import Outcome
from mediator.storage.notices import Notices
from tests.integration.dispatch.support import House
from tests.support.store import ticket
from tests.unit.dispatch.support import NOW

LONG = timedelta(hours=1)
AT_ONCE = timedelta(0)


async def test_what_runs_may_end_and_nothing_new_starts(house: House) -> None:
    task = house.begin()
    running = await house.accept()
    await house.until_running(1)
    stopping = asyncio.create_task(house.dispatcher.stop(drain=LONG))
    await asyncio.sleep(0)
    late = await house.accept()
    house.runner.go.set()
    await stopping
    await task
    assert await house.state(running) == "succeeded"
    assert await house.state(late) == "pending"


async def test_what_does_not_end_is_cut_short_and_costs_nothing(house: House) -> None:
    task = house.begin()
    delivery_id = await house.accept()
    await house.until_running(1)
    await house.dispatcher.stop(drain=AT_ONCE)
    await task
    found = await house.find(delivery_id)
    assert (found.state, found.due, found.failures) == ("pending", NOW, 0)
    assert found.attempts[0].outcome is Outcome.CANCELLED
    assert "shut down" in found.last_error


async def test_a_second_signal_ends_the_drain(house: House) -> None:
    task = house.begin()
    delivery_id = await house.accept()
    await house.until_running(1)
    stopping = asyncio.create_task(house.dispatcher.stop(drain=LONG))
    await asyncio.sleep(0)
    house.dispatcher.cut()
    await stopping
    await task
    assert await house.state(delivery_id) == "pending"


async def test_what_is_claimed_in_the_moment_of_the_stop_is_cut_short_too(house: House) -> None:
    """The claim is committed, but its answer comes after the cut."""
    go = house.store.slow["claim"] = asyncio.Event()
    delivery_id = await house.accept()
    task = house.begin()
    await house.until_state(delivery_id, "running")
    await house.dispatcher.stop(drain=AT_ONCE)
    go.set()
    await task
    assert house.runner.runs == [], "it never started"
    found = await house.find(delivery_id)
    assert (found.state, found.failures) == ("pending", 0)


async def test_an_operators_wish_is_stronger_than_the_shutdown(house: House) -> None:
    task = house.begin()
    cancelled, cut = [await house.accept(ticket=ticket(str(n))) for n in range(2)]
    await house.until_running(2)
    await asyncio.gather(
        house.store.cancel(cancelled, now=NOW, reason="by ops"),
        house.dispatcher.stop(drain=AT_ONCE),
    )
    await task
    assert await house.state(cancelled) == "cancelled"
    assert await house.state(cut) == "pending"


async def test_a_wish_that_only_the_store_knows_counts_at_the_shutdown(house: House) -> None:
    house.store.notices = Notices()  # none comes, as when another replica is asked
    house.dispatcher = house.another()
    delivery_id = await house.accept()
    task = house.begin()
    await house.until_running(1)
    await house.store.cancel(delivery_id, now=NOW, reason="by ops")
    await house.dispatcher.stop(drain=AT_ONCE)
    await task
    found = await house.find(delivery_id)
    assert (found.state, found.last_error) == ("cancelled", "by ops")


async def test_a_dispatcher_stopped_before_it_ran_takes_nothing(house: House) -> None:
    await house.accept()
    await house.dispatcher.stop(drain=LONG)
    await house.begin()
    assert house.runner.runs == []


async def test_a_dispatcher_stops_while_the_store_is_away(house: House) -> None:
    house.store.away = {"recover", "claim"}
    task = house.begin()
    await house.until(lambda: house.store.refused["recover"] > 0)
    await house.dispatcher.stop(drain=LONG)
    await task


async def test_leases_are_renewed_while_draining(house: House) -> None:
    house.renewing_often()
    house.begin()
    await house.accept()
    await house.until_running(1)
    stopping = asyncio.create_task(house.dispatcher.stop(drain=LONG))
    await asyncio.sleep(0)
    before = house.store.calls["renew"]
    await house.until(lambda: house.store.calls["renew"] > before + 1)
    house.runner.go.set()
    await stopping
