"""Deliveries are claimed, run and recorded, within every limit, at once and in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mediator.dispatch.slots import Slots
from mediator.model.delivery import Ended, Outcome
from mediator.runners.port import Run
from tests.integration.dispatch.support import FAILED, OK, House
from tests.support.metrics import sample
from tests.support.store import ticket
from tests.unit.dispatch.support import NOW, Scripts, script

HOUR = timedelta(hours=1)


@pytest.fixture
def house(house: House) -> House:
    """Without its look by time, only notices move the dispatcher: a lost one is a hanging test."""
    house.pace = replace(house.pace, longest_idle=HOUR)
    house.dispatcher = house.another()
    return house


async def test_a_delivery_runs_as_it_was_handed_over_and_is_recorded(house: House) -> None:
    house.runner.go.set()
    house.begin()
    delivery_id = await house.accept(
        arguments=("x", "\udcff"), body=b"<t/>", ticket=ticket("7"), variables={"SCW_EVENT": "E"}
    )
    found = await house.until_state(delivery_id, "succeeded")
    (run,) = house.runner.runs
    assert run == Run(
        name=f"{delivery_id}-1",
        program=house.scripts.catalog.scripts["a.py"].path,
        arguments=("x", "\udcff"),
        environment=run.environment,
        stdin=b"<t/>",
        timeout=300,
        grace=10,
        script="a.py",
    )
    assert run.environment["SCW_EVENT"] == "E"
    assert run.environment["MEDIATOR_DELIVERY_ID"] == delivery_id
    assert "SECRET" not in run.environment
    assert [attempt.outcome for attempt in found.attempts] == [Outcome.OK]


async def test_a_failed_attempt_is_made_again_when_it_is_due(house: House) -> None:
    house.runner.go.set()
    house.runner.end = lambda run: FAILED if run.environment["MEDIATOR_ATTEMPT"] == "1" else OK
    house.begin()
    delivery_id = await house.accept()
    await house.until_put_back(delivery_id)
    house.clock.later(10)
    house.store.notices.work()
    found = await house.until_state(delivery_id, "succeeded")
    assert [attempt.number for attempt in found.attempts] == [1, 2]


async def test_the_dispatcher_wakes_by_itself_when_an_attempt_is_due(house: House) -> None:
    house.runner.go.set()
    delivery_id = await house.accept(at=NOW + timedelta(milliseconds=50))
    house.begin()
    await house.until(lambda: house.store.calls["next_due"] > 0)
    house.clock.later(1)
    await house.until_state(delivery_id, "succeeded")


async def test_what_becomes_due_while_it_is_looked_is_not_overlooked(house: House) -> None:
    house.runner.go.set()
    delivery_id = await house.accept(at=NOW + timedelta(milliseconds=50))
    await house.store.notices.wait_for_work(0)  # or the notice of it would have it found
    house.store.after["claim"] = lambda: house.clock.later(1)
    house.begin()
    await house.until_state(delivery_id, "succeeded")


async def test_what_waits_elsewhere_delays_nobody(house: House) -> None:
    """A delivery due long ago, whose script cannot run, does not hide when the next one is due."""
    house.scripts.catalog = Scripts.of(script("a.py"), script("b.py", problem="broken")).catalog
    house.runner.go.set()
    await house.accept("b.py")
    delivery_id = await house.accept("a.py", at=NOW + timedelta(milliseconds=50))
    await house.store.notices.wait_for_work(0)  # those notices would have it look again
    house.begin()
    await house.until(lambda: house.store.calls["next_due"] > 0)
    house.clock.later(1)
    await house.until_state(delivery_id, "succeeded")
    assert house.store.calls["next_due"] <= 4, "it looked when there was something to see"


async def test_no_limit_is_ever_exceeded(house: House) -> None:
    house.slots = Slots(trigger=4, interactive=2)
    house.scripts.catalog = Scripts.of(script("a.py", concurrency=2), script("b.py")).catalog
    house.dispatcher = house.another()
    ids = [await house.accept(name) for name in ("a.py", "b.py") * 15]
    ids += [await house.accept(interactive=True) for _ in range(6)]
    house.runner.go.set()
    house.begin()
    for delivery_id in ids:
        await house.until_state(delivery_id, "succeeded")
    most = house.runner.most
    assert most["a.py"] == 2
    assert most["all"] <= 6
    assert most["b.py"] <= 4
    assert house.slots.busy == 0


async def test_all_slots_are_filled(house: House) -> None:
    house.begin()
    for _ in range(10):
        await house.accept()
    await house.until_running(4)
    house.runner.go.set()
    await house.until(lambda: len(house.runner.runs) == 10)


async def test_a_person_never_waits_for_triggers(house: House) -> None:
    house.begin()
    for _ in range(20):
        await house.accept()
    await house.until_running(4)
    for _ in range(2):
        await house.accept("b.py", interactive=True)
    await house.until_running(2, "b.py")


async def test_triggers_do_not_take_the_slots_of_people(house: House) -> None:
    house.begin()
    for _ in range(3):
        await house.accept("b.py", interactive=True)
    await house.until_running(2, "b.py")
    await house.accept("a.py")
    await house.until_running(1, "a.py")
    assert house.runner.running["b.py"] == 2


async def test_one_tickets_deliveries_run_in_order_across_retries(house: House) -> None:
    house.scripts.catalog = Scripts.of(script("a.py", order="ticket")).catalog
    first, second = [await house.accept(ticket=ticket("7")) for _ in range(2)]
    other = await house.accept(ticket=ticket("8"))
    house.runner.go.set()
    house.runner.end = lambda run: FAILED if run.name == f"{first}-1" else OK
    house.begin()
    await house.until_state(other, "succeeded")
    await house.until_put_back(first)
    house.clock.later(10)
    house.store.notices.work()
    await house.until_state(second, "succeeded")
    names = [run.name for run in house.runner.runs if run.environment["MEDIATOR_TICKET_ID"] == "7"]
    assert names == [f"{first}-1", f"{first}-2", f"{second}-1"]


async def test_a_cancelled_delivery_lets_the_next_of_its_ticket_go(house: House) -> None:
    house.scripts.catalog = Scripts.of(script("a.py", order="ticket")).catalog
    first = await house.accept(ticket=ticket("7"), at=NOW + HOUR)
    second = await house.accept(ticket=ticket("7"))
    house.runner.go.set()
    house.begin()
    await house.until(lambda: house.store.calls["next_due"] > 0)
    assert await house.state(second) == "pending"
    await house.store.cancel(first, now=NOW, reason="by ops")
    await house.until_state(second, "succeeded")


async def test_a_script_that_becomes_ready_is_run(house: House) -> None:
    ready = house.scripts.catalog
    house.scripts.catalog = Scripts.of(script("a.py", problem="broken")).catalog
    house.runner.go.set()
    house.begin()
    delivery_id = await house.accept()
    await house.until(lambda: house.store.calls["recover"] > 0)
    house.scripts.catalog = ready
    house.store.notices.work()  # as a reload does
    await house.until_state(delivery_id, "succeeded")


async def test_an_operator_stops_a_running_attempt(house: House) -> None:
    house.begin()
    delivery_id = await house.accept()
    await house.until_running(1)
    await house.store.cancel(delivery_id, now=NOW, reason="cancelled by ops")
    found = await house.until_state(delivery_id, "cancelled")
    assert (found.last_error, found.failures) == ("cancelled by ops", 0)
    labels = {"script": "a.py", "calls": "trigger", "state": "cancelled"}
    assert sample(house.metrics, "mediator_deliveries_ended_total", **labels) == 1


class Interrupted(Exception):
    """A fault of the runner."""


async def test_a_fault_of_the_runner_costs_one_attempt_only(house: House) -> None:
    def end(run: Run) -> Ended:
        if run.environment["MEDIATOR_ATTEMPT"] == "1":
            raise Interrupted
        return OK

    house.runner.end = end
    house.runner.go.set()
    house.begin()
    delivery_id = await house.accept()
    await house.until_put_back(delivery_id)
    house.clock.later(10)
    house.store.notices.work()
    found = await house.until_state(delivery_id, "succeeded")
    assert [attempt.outcome for attempt in found.attempts] == [Outcome.LOST, Outcome.OK]
    assert "Interrupted" in found.attempts[0].reason
    assert found.failures == 1


class TestIdleness:
    async def test_nothing_is_asked_while_there_is_nothing_to_do(self, house: House) -> None:
        house.scripts.catalog = Scripts.of(script("a.py", problem="broken")).catalog
        await house.accept()
        await house.accept("unknown.py")
        house.begin()
        await self.quiet(house)

    async def quiet(self, house: House) -> None:
        """However often the loop turns, the store is left alone."""
        await house.until(lambda: house.store.calls["recover"] > 0)
        for _ in range(20):
            await house.store.probe()
        before = dict(house.store.calls)
        for _ in range(50):
            await house.store.probe()
        after = dict(house.store.calls)
        assert {k: after[k] - before.get(k, 0) for k in after if after[k] != before.get(k)} == {
            "probe": 50
        }

    async def test_a_flood_for_full_slots_wakes_nobody(self, house: House) -> None:
        house.begin()
        for _ in range(4):
            await house.accept()
        await house.until_running(4)
        await self.quiet(house)
        claims = house.store.calls["claim"]
        for _ in range(100):
            await house.accept()
        assert house.store.calls["claim"] == claims
        house.runner.go.set()
        await house.until(lambda: len(house.runner.runs) == 104)

    async def test_a_flood_for_a_full_script_wakes_nobody(self, house: House) -> None:
        house.scripts.catalog = Scripts.of(script("a.py", concurrency=1), script("b.py")).catalog
        house.begin()
        await house.accept()
        await house.until_running(1)
        await self.quiet(house)
        claims = house.store.calls["claim"]
        for _ in range(100):
            await house.accept()
        assert house.store.calls["claim"] == claims
        await house.accept("b.py")
        await house.until_running(1, "b.py")

    async def test_retries_that_come_due_wake_nobody_while_all_slots_are_full(
        self, house: House
    ) -> None:
        for n in range(20):
            await house.accept(at=NOW + timedelta(milliseconds=n + 1))
        for _ in range(4):
            await house.accept()
        house.begin()
        await house.until_running(4)
        await self.quiet(house)


async def test_no_wake_up_is_lost_between_many_short_attempts(house: House) -> None:
    house.runner.go.set()
    house.begin()
    for _ in range(20):
        ids = await asyncio.gather(*(house.accept() for _ in range(10)))
        await asyncio.sleep(0)
    assert ids
    await house.until(lambda: len(house.runner.runs) == 200)
