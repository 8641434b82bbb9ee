"""A store that is away, leases, losses, and faults in the mediator itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Never

import pytest
from structlog.testing import capture_logs

from mediator.dispatch.leases import LEASE
from mediator.model.delivery import Outcome
from mediator.storage.notices import Notices
from mediator.storage.transitions import MOST_LOSSES
from tests.integration.dispatch.support import OK, House
from tests.support.metrics import sample
from tests.support.store import Desk
from tests.unit.dispatch.support import NOW, Scripts


@pytest.mark.parametrize("away", ["recover", "expire", "claim", "next_due"])
async def test_work_goes_on_when_the_store_is_back(house: House, away: str) -> None:
    house.runner.go.set()
    house.store.away = {away}
    house.begin()
    delivery_id = await house.accept()
    await house.until(lambda: house.store.refused[away] > 2)
    house.store.away = set()
    await house.until_state(delivery_id, "succeeded")
    assert sample(house.metrics, "mediator_store_errors_total") > 2


async def test_an_end_is_recorded_however_long_the_store_is_away(house: House) -> None:
    house.runner.go.set()
    house.store.away = {"finish"}
    house.begin()
    delivery_id = await house.accept()
    await house.until(lambda: house.store.refused["finish"] > 5)
    assert await house.state(delivery_id) == "running"
    house.store.away = set()
    found = await house.until_state(delivery_id, "succeeded")
    assert found.attempts_made == 1
    assert len(house.runner.runs) == 1, "the script ran once"


async def test_leases_survive_a_store_that_was_away(house: House) -> None:
    house.renewing_often()
    house.begin()
    delivery_id = await house.accept()
    await house.until_running(1)
    house.store.away = {"renew"}
    await house.until(lambda: house.store.refused["renew"] > 2)
    house.clock.later(10 * LEASE.total_seconds())
    house.store.away = set()
    before = house.store.calls["recover"]
    await house.until(lambda: house.store.calls["recover"] > before + 1)
    assert await house.state(delivery_id) == "running", "what runs is renewed before it is judged"
    assert len(house.runner.runs) == 1


async def test_a_wish_of_which_no_notice_came_is_heard_at_the_next_renewal(house: House) -> None:
    house.store.notices = Notices()
    house.renewing_often()
    delivery_id = await house.accept()
    house.begin()
    await house.until_running(1)
    await house.store.cancel(delivery_id, now=NOW, reason="by ops")
    await house.until_state(delivery_id, "cancelled")


async def test_an_attempt_that_another_has_taken_over_is_stopped(house: House) -> None:
    house.renewing_often()
    house.store.away = {"renew"}
    house.begin()
    delivery_id = await house.accept()
    await house.until_running(1)
    other = Desk(house.store, owner="there", now=NOW + 10 * LEASE)
    await other.recover()
    house.scripts.catalog = Scripts.of().catalog
    (taken,) = await other.claim()
    house.store.away = {"recover"}  # of one file there is only one holder
    await house.until_running(0)
    assert await house.state(delivery_id) == "running", "there"
    assert await other.finish(taken) == "succeeded"


async def test_a_delivery_that_comes_back_while_its_old_attempt_ends(house: House) -> None:
    """Another took it over and put it back; the old attempt here is stopped, the new one is not."""
    house.begin()
    delivery_id = await house.accept()
    await house.until_running(1)
    await Desk(house.store, now=NOW).recover(crashed=True)
    house.clock.later(3 * LEASE.total_seconds())
    house.store.notices.work()
    await house.until(lambda: len(house.runner.runs) == 2)
    await house.until_running(1)
    house.runner.go.set()
    found = await house.until_state(delivery_id, "succeeded")
    assert [attempt.outcome for attempt in found.attempts] == [Outcome.LOST, Outcome.OK]
    assert house.slots.busy == 0


async def test_what_a_dead_mediator_ran_is_run_again(house: House) -> None:
    delivery_id = await house.accept()
    await Desk(house.store, owner="dead", now=NOW).claim()
    house.runner.go.set()
    house.begin()
    found = await house.until_state(delivery_id, "succeeded")
    assert [attempt.outcome for attempt in found.attempts] == [Outcome.LOST, Outcome.OK]
    assert sample(house.metrics, "mediator_deliveries_recovered_total") == 1


async def test_an_interactive_call_whose_deadline_passed_is_cancelled(house: House) -> None:
    house.renewing_often()
    house.begin()
    for _ in range(2):
        await house.accept(interactive=True)
    await house.until_running(2)
    late = await house.accept(interactive=True, expires=NOW + timedelta(seconds=1))
    with house.store.notices.watch(late) as ended:
        house.clock.later(1)
        async with asyncio.timeout(60):
            await ended.wait()
    assert await house.state(late) == "cancelled"


async def test_what_the_store_ends_by_itself_has_its_line_in_the_log(house: House) -> None:
    late = await house.accept(interactive=True, expires=NOW + timedelta(seconds=1))
    house.clock.later(1)
    desk = Desk(house.store, owner="elsewhere")
    lost = await desk.accept("b.py")
    for _ in range(MOST_LOSSES - 1):
        await desk.claim(room={"b.py": 1})
        await desk.recover(crashed=True)
    await desk.claim(room={"b.py": 1})
    with capture_logs() as lines:
        house.begin()
        await house.until_state(late, "cancelled")
        await house.until_state(lost, "dead")
    told = {line["delivery_id"]: line for line in lines if line["event"] == "delivery ended"}
    assert set(told) == {late, lost}
    assert (told[late]["state"], told[late]["log_level"]) == ("cancelled", "info")
    assert (told[lost]["state"], told[lost]["log_level"]) == ("dead", "error")
    assert told[lost]["script"] == "b.py"
    assert told[lost]["ticket_id"] == (await house.store.find(lost)).ticket.id
    assert f"{MOST_LOSSES} times" in told[lost]["reason"]


async def test_a_fault_in_the_mediator_loses_one_attempt_which_is_put_back(house: House) -> None:
    house.renewing_often()
    house.runner.go.set()
    house.runner.end = lambda _: "no end of an attempt"  # type: ignore[assignment, return-value]
    house.begin()
    delivery_id = await house.accept()
    await house.until(lambda: len(house.runner.runs) == 1)
    await house.until(lambda: house.slots.busy == 0)
    house.runner.end = lambda _: OK
    other = await house.accept("b.py")
    await house.until_state(other, "succeeded")
    await house.watched(2 * LEASE)
    found = await house.until_state(delivery_id, "succeeded")
    assert [attempt.outcome for attempt in found.attempts] == [Outcome.LOST, Outcome.OK]


async def test_a_script_that_cannot_be_described_costs_one_attempt(house: House) -> None:
    class Broken(dict[str, str]):
        def get(self, *_: object) -> Never:
            raise ZeroDivisionError

    house.environment = Broken()
    house.dispatcher = house.another()
    house.begin()
    delivery_id = await house.accept()
    found = await house.until_put_back(delivery_id)
    assert found.attempts[0].outcome is Outcome.LOST


def causes(error: BaseException | None) -> list[BaseException | None]:
    """What a group of errors, or of groups of them, is made of."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [cause for part in error.exceptions for cause in causes(part)]


@pytest.mark.parametrize("part", ["renew", "claim"])
async def test_a_part_that_dies_takes_the_dispatcher_with_it(house: House, part: str) -> None:
    house.renewing_often()
    task = house.begin()
    await house.accept()
    await house.until_running(1)
    house.store.error = ZeroDivisionError("a bug")
    house.store.away = {part}
    house.store.notices.work()
    async with asyncio.timeout(60):
        await asyncio.wait([task])
    assert [type(error) for error in causes(task.exception())] == [ZeroDivisionError]
    assert house.runner.running["all"] == 0


class TestAlive:
    async def test_not_before_it_looked(self, house: House) -> None:
        assert not house.dispatcher.alive

    async def test_while_it_looks_for_work(self, house: House) -> None:
        house.begin()
        await house.until(lambda: house.dispatcher.alive)

    async def test_with_full_slots_as_well(self, house: House) -> None:
        house.begin()
        for _ in range(4):
            await house.accept()
        await house.until_running(4)
        house.clock.later(3600)
        await house.until(lambda: house.dispatcher.alive)

    async def test_not_when_it_is_stuck(self, house: House) -> None:
        house.begin()
        await house.until(lambda: house.dispatcher.alive)
        never = house.store.slow["claim"] = asyncio.Event()
        try:
            delivery_id = await house.accept()
            await house.until_state(delivery_id, "running")
            house.clock.later(60)
            assert not house.dispatcher.alive
        finally:
            never.set()
