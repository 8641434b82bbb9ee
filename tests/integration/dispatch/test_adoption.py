"""What runs in a cluster goes on without its mediator, and the next one goes on with it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.integration.dispatch.support import House
from tests.support.store import Desk
from tests.unit.dispatch.support import NOW, Scripts, script

AT_ONCE = timedelta(0)


@pytest.fixture
def house(house: House) -> House:
    house.scripts = Scripts.of(script("a.py", runner="kubernetes"), script("b.py"))
    house.dispatcher = house.another()
    return house


async def test_a_shutdown_leaves_it_running_and_puts_nothing_back(house: House) -> None:
    task = house.begin()
    delivery_id = await house.accept()
    await house.until_running(1)
    await house.dispatcher.stop(drain=AT_ONCE)
    await task
    found = await house.find(delivery_id)
    assert (found.state, found.attempts_made, found.attempts[0].outcome) == ("running", 1, None)
    assert house.cluster.forgotten == []


async def test_the_next_mediator_goes_on_with_the_same_attempt(house: House) -> None:
    delivery_id = await house.accept()
    other = await house.accept("b.py")
    await Desk(house.store, owner="before", now=NOW).claim()
    house.runner.go.set()
    house.begin()
    found = await house.until_state(delivery_id, "succeeded")
    assert (found.attempts_made, found.losses, len(found.attempts)) == (1, 0, 1)
    assert house.cluster.forgotten == [f"{delivery_id}-1"]
    again = await house.until_state(other, "succeeded")
    assert (again.attempts_made, again.losses) == (2, 1), "a process does not outlive its mediator"


async def test_it_is_adopted_beyond_the_slots_and_by_a_script_that_is_not_ready(
    house: House,
) -> None:
    ids = [await house.accept() for _ in range(6)]
    await Desk(house.store, owner="before", now=NOW).claim()
    house.scripts = Scripts.of(script("a.py", runner="kubernetes", problem="it is broken."))
    house.dispatcher = house.another()
    house.begin()
    await house.until_running(6)
    house.runner.go.set()
    for delivery_id in ids:
        assert (await house.until_state(delivery_id, "succeeded")).attempts_made == 1


async def test_an_adopted_attempt_is_stopped_when_an_operator_asks(house: House) -> None:
    delivery_id = await house.accept()
    await Desk(house.store, owner="before", now=NOW).claim()
    house.begin()
    await house.until_running(1)
    await house.store.cancel(delivery_id, now=NOW, reason="cancelled by ops")
    await house.until_state(delivery_id, "cancelled")


async def test_what_another_took_over_is_let_alone_and_not_stopped(house: House) -> None:
    house.renewing_often()
    delivery_id = await house.accept()
    house.begin()
    await house.until_running(1)
    house.store.away = {"expire"}  # of one file there is only one holder, who would adopt it
    await house.until(lambda: house.store.refused["expire"] > 0)
    await house.store.adopt(await house.store.held(), owner="there", lease=NOW)
    with capture_logs() as lines:
        await house.until_running(0)
        await house.until(lambda: "attempt left running" in [line["event"] for line in lines])
    (left,) = (line for line in lines if line["event"] == "attempt left running")
    assert left["reason"] == "another mediator goes on with it"
    (held,) = await house.store.held()
    assert (held.delivery_id, held.owner) == (delivery_id, "there")
    assert house.cluster.forgotten == []


async def test_one_that_is_claimed_in_the_moment_of_the_shutdown_is_left_to_the_next(
    house: House,
) -> None:
    delivery_id = await house.accept()
    house.store.after["claim"] = house.dispatcher.cut
    await house.begin()
    assert await house.state(delivery_id) == "running"
