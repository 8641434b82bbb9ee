"""Somebody sets the clock: nothing is lost, nothing runs twice, nothing waits for hours."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediator.model.delivery import Outcome
from tests.integration.dispatch.support import FAILED, OK, House
from tests.unit.dispatch.support import NOW

HOURS = 2 * 3600.0


@pytest.mark.parametrize("jump", [HOURS, -HOURS], ids=["forward", "back"])
async def test_what_runs_goes_on_and_runs_once(house: House, jump: float) -> None:
    house.renewing_often()
    house.begin()
    ids = [await house.accept() for _ in range(3)]
    await house.until_running(3)
    house.clock.jump(jump)
    await house.watched(timedelta(minutes=3))
    house.runner.go.set()
    for delivery_id in ids:
        found = await house.until_state(delivery_id, "succeeded")
        assert [attempt.outcome for attempt in found.attempts] == [Outcome.OK]
    assert len(house.runner.runs) == 3


async def test_what_was_to_be_tried_again_is_not_held_up_by_a_clock_that_was_set_back(
    house: House,
) -> None:
    house.renewing_often()
    house.runner.end = lambda _: FAILED
    house.runner.go.set()
    house.begin()
    delivery_id = await house.accept()
    waiting = await house.until_put_back(delivery_id)
    assert waiting.due is not None
    assert waiting.due > NOW
    house.clock.jump(-HOURS)
    house.runner.end = lambda _: OK
    await house.until_state(delivery_id, "succeeded")


async def test_what_was_handed_over_before_the_clock_was_set_back_runs(house: House) -> None:
    house.renewing_often()
    house.runner.go.set()
    delivery_id = await house.accept()
    house.clock.jump(-HOURS)
    house.begin()
    await house.until_state(delivery_id, "succeeded")


async def test_whoever_waits_is_answered_although_the_clock_was_set_back(house: House) -> None:
    house.runner.go.set()
    delivery_id = await house.accept(interactive=True)
    house.clock.jump(-HOURS)
    house.begin()
    await house.until_state(delivery_id, "succeeded")


async def test_a_dispatcher_that_looks_for_work_is_alive_whatever_the_clock_says(
    house: House,
) -> None:
    house.begin()
    await house.until(lambda: house.dispatcher.alive)
    house.clock.jump(HOURS)
    assert house.dispatcher.alive
