"""What every store promises: lost attempts, leases, operators, deadlines, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from mediator.errors import Conflict
from mediator.model.delivery import Ended, Outcome, State, Verdict
from mediator.storage.interface import DeliveryStore, Held
from mediator.storage.transitions import MOST_LOSSES
from tests.support.store import (
    DEAD,
    LEASE,
    SECOND,
    SUCCEEDED,
    Desk,
    again,
)

STOPPED = Verdict(state=State.CANCELLED, error="cancelled while it ran")


class TestLosses:
    async def test_what_another_lost_is_due_again_and_costs_no_attempt(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        await desk.claim()
        desk.later(1000)
        assert await desk.recover() == 1
        found = await desk.find(delivery_id)
        assert (found.state, found.due) == (State.PENDING, desk.now)
        assert (found.failures, found.losses, found.attempts_made) == (0, 1, 1)
        (attempt,) = found.attempts
        assert (attempt.outcome, attempt.ended) == (Outcome.LOST, desk.now)
        assert "unknown" in attempt.reason

    async def test_what_runs_under_a_lease_stays(self, desk: Desk) -> None:
        await desk.accept()
        await desk.claim()
        desk.later(LEASE.total_seconds())
        assert await desk.recover() == 0

    async def test_what_its_owner_did_not_renew_is_put_back(self, desk: Desk) -> None:
        lost, kept = [await desk.accept() for _ in range(2)]
        await desk.claim()
        desk.later(50)
        assert not await desk.store.renew("here", [kept], lease=desk.now + LEASE)
        desk.later(50)
        assert await desk.recover() == 1
        assert await desk.state(lost) is State.PENDING
        assert await desk.state(kept) is State.RUNNING

    async def test_what_was_renewed_since_it_was_seen_stays(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        await desk.claim()
        seen = await desk.store.held()
        await desk.store.renew("here", [delivery_id], lease=desk.now + 2 * LEASE)
        assert not await desk.store.recover(seen, now=desk.now)
        assert await desk.state(delivery_id) is State.RUNNING

    async def test_what_ended_and_runs_again_since_it_was_seen_stays(self, desk: Desk) -> None:
        await desk.accept()
        (first,) = await desk.claim()
        seen = await desk.store.held()
        await desk.finish(first, again(desk.now))
        (second,) = await desk.claim()
        assert not await desk.store.recover(seen, now=desk.now)
        assert await desk.finish(second) is State.SUCCEEDED

    async def test_what_runs_is_seen_with_its_owner_and_lease(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        await desk.accept("b.py")
        await desk.claim(room={"a.py": 1})
        held = Held(delivery_id=delivery_id, number=1, owner="here", lease=desk.now + LEASE)
        assert await desk.store.held() == [held]

    async def test_a_mediator_that_dies_of_a_delivery_gives_it_up(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        for _ in range(MOST_LOSSES):
            assert await desk.state(delivery_id) is State.PENDING
            assert len(await desk.claim()) == 1
            desk.later(1000)
            await desk.recover()
        found = await desk.find(delivery_id)
        assert (found.state, found.ended, found.due) == (State.DEAD, desk.now, None)
        assert f"{MOST_LOSSES} times" in found.last_error
        assert await desk.claim() == []

    async def test_what_was_to_be_stopped_is_cancelled_when_lost(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        await desk.claim()
        await desk.store.cancel(delivery_id, now=desk.now, reason="cancelled by ops")
        desk.later(1000)
        await desk.recover()
        found = await desk.find(delivery_id)
        assert (found.state, found.last_error) == (State.CANCELLED, "cancelled by ops")


class TestAdoption:
    async def test_another_goes_on_with_the_same_attempt(self, desk: Desk) -> None:
        delivery_id = await desk.accept(body=b"<ticket_info/>")
        (first,) = await desk.claim()
        desk.later(1000)
        seen = await desk.store.held()
        assert [item.script for item in seen] == ["a.py"]
        (adopted,) = await desk.store.adopt(seen, owner="there", lease=desk.now + LEASE)
        assert (adopted.delivery.id, adopted.number, adopted.owner) == (delivery_id, 1, "there")
        assert adopted.body == b"<ticket_info/>"
        assert await desk.finish(first) is None
        assert await desk.finish(adopted) is State.SUCCEEDED
        found = await desk.find(delivery_id)
        assert (found.attempts_made, found.losses) == (1, 0)
        assert [attempt.outcome for attempt in found.attempts] == [Outcome.OK]

    async def test_its_new_owner_keeps_it_and_the_old_one_does_not(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        await desk.claim()
        await desk.store.adopt(await desk.store.held(), owner="there", lease=desk.now + LEASE)
        later = desk.now + 2 * LEASE
        assert set(await desk.store.renew("here", [delivery_id], lease=later)) == {delivery_id}
        assert not await desk.store.renew("there", [delivery_id], lease=later)
        held = Held(delivery_id=delivery_id, number=1, owner="there", lease=later)
        assert await desk.store.held() == [held]

    async def test_what_was_renewed_or_ended_since_it_was_seen_stays(self, desk: Desk) -> None:
        renewed = await desk.accept()
        await desk.accept()
        _, ending = await desk.claim()
        seen = await desk.store.held()
        await desk.store.renew("here", [renewed], lease=desk.now + 2 * LEASE)
        await desk.finish(ending)
        assert not await desk.store.adopt(seen, owner="there", lease=desk.now + LEASE)
        assert await desk.store.adopt([], owner="there", lease=desk.now + LEASE) == ()

    async def test_only_one_of_two_adopts(self, desk: Desk) -> None:
        await desk.accept()
        await desk.claim()
        seen = await desk.store.held()
        adopted = [
            len(await desk.store.adopt(seen, owner=owner, lease=desk.now + 2 * LEASE))
            for owner in ("there", "elsewhere")
        ]
        assert adopted == [1, 0]

    async def test_what_is_to_be_stopped_is_so_for_its_new_owner(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        await desk.claim()
        await desk.store.cancel(delivery_id, now=desk.now, reason="cancelled by ops")
        await desk.store.adopt(await desk.store.held(), owner="there", lease=desk.now + LEASE)
        later = desk.now + 2 * LEASE
        assert set(await desk.store.renew("there", [delivery_id], lease=later)) == {delivery_id}


class TestLeases:
    async def test_renewing_says_what_is_to_be_stopped(self, desk: Desk) -> None:
        ids = [await desk.accept() for _ in range(3)]
        await desk.claim()
        await desk.store.cancel(ids[1], now=desk.now, reason="by ops")
        assert set(await desk.store.renew("here", ids, lease=desk.now)) == {ids[1]}

    async def test_renewing_says_what_is_no_longer_held(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        await desk.claim()
        await desk.recover(crashed=True)
        assert set(await desk.store.renew("here", [delivery_id], lease=desk.now)) == {delivery_id}

    async def test_nothing_is_renewed_when_nothing_runs(self, store: DeliveryStore) -> None:
        assert not await store.renew("here", [], lease=Desk(store).now)


class TestHastening:
    """After a clock was set back, nothing waits for the time by which it was ahead."""

    async def test_what_is_due_later_than_any_policy_has_it_is_due_now(self, desk: Desk) -> None:
        far = await desk.accept(at=desk.now + timedelta(hours=2))
        near = await desk.accept(at=desk.now + 5 * SECOND)
        other = await desk.accept("b.py", at=desk.now + timedelta(hours=2))
        latest = {"a.py": desk.now + 10 * SECOND, "b.py": desk.now + timedelta(hours=3)}
        assert await desk.store.clamp_due(latest, now=desk.now) == 1
        due = [(await desk.find(i)).due for i in (far, near, other)]
        assert due == [desk.now, desk.now + 5 * SECOND, desk.now + timedelta(hours=2)]

    async def test_there_may_be_no_script_at_all(self, desk: Desk) -> None:
        assert await desk.store.clamp_due({}, now=desk.now) == 0


class TestRetrying:
    @pytest.mark.parametrize("verdict", [SUCCEEDED, DEAD, STOPPED], ids=lambda v: v.state)
    async def test_an_ended_delivery_starts_afresh(self, desk: Desk, verdict: Verdict) -> None:
        await desk.accept()
        delivery_id = await desk.run(verdict)
        desk.later(10)
        answered = await desk.store.retry(delivery_id, now=desk.now)
        assert answered == await desk.find(delivery_id)
        assert (answered.state, answered.due, answered.ended) == (State.PENDING, desk.now, None)
        assert (answered.budget_start, answered.failures, answered.losses) == (desk.now, 0, 0)
        (claim,) = await desk.claim()
        assert claim.number == 2, "attempts are counted on"

    async def test_a_pending_delivery_is_due_at_once(self, desk: Desk) -> None:
        await desk.accept()
        delivery_id = await desk.run(again(desk.now + 500 * SECOND))
        await desk.store.retry(delivery_id, now=desk.now)
        assert await desk.claimed() == [delivery_id]

    async def test_a_running_delivery_is_left_alone(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        (claim,) = await desk.claim()
        with pytest.raises(Conflict, match="is running"):
            await desk.store.retry(delivery_id, now=desk.now)
        assert await desk.finish(claim) is State.SUCCEEDED

    async def test_an_interactive_one_runs_although_its_caller_is_gone(self, desk: Desk) -> None:
        delivery_id = await desk.accept(interactive=True, expires=desk.now + SECOND)
        desk.later(100)
        await desk.store.expire(now=desk.now)
        await desk.store.retry(delivery_id, now=desk.now)
        assert len(await desk.store.expire(now=desk.now)) == 0
        assert await desk.claimed(slots=0) == [delivery_id]


class TestCancelling:
    async def test_a_pending_delivery_ends(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        answered = await desk.store.cancel(delivery_id, now=desk.now, reason="cancelled by ops")
        assert answered == await desk.find(delivery_id)
        assert (answered.state, answered.ended) == (State.CANCELLED, desk.now)
        assert (answered.due, answered.last_error) == (None, "cancelled by ops")
        assert await desk.claim() == []

    async def test_a_running_delivery_ends_with_its_attempt(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        (claim,) = await desk.claim()
        answered = await desk.store.cancel(delivery_id, now=desk.now, reason="cancelled by ops")
        assert answered.state is State.RUNNING
        stopped = Ended(outcome=Outcome.CANCELLED, reason="stopped")
        assert await desk.finish(claim, STOPPED, stopped) is State.CANCELLED
        assert (await desk.find(delivery_id)).last_error == "cancelled by ops"

    async def test_it_is_not_tried_again_when_the_attempt_fails_by_itself(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        (claim,) = await desk.claim()
        await desk.store.cancel(delivery_id, now=desk.now, reason="cancelled by ops")
        assert await desk.finish(claim, again(desk.now)) is State.CANCELLED
        found = await desk.find(delivery_id)
        assert (found.state, found.due, found.ended) == (State.CANCELLED, None, desk.now)
        assert found.attempts[0].outcome is Outcome.FAILED, "what happened is not bent"

    @pytest.mark.parametrize("verdict", [SUCCEEDED, DEAD], ids=lambda v: v.state)
    async def test_an_end_that_came_first_stands(self, desk: Desk, verdict: Verdict) -> None:
        delivery_id = await desk.accept()
        (claim,) = await desk.claim()
        await desk.store.cancel(delivery_id, now=desk.now, reason="cancelled by ops")
        assert await desk.finish(claim, verdict) is verdict.state

    async def test_an_old_wish_does_not_outlive_its_attempt(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        (claim,) = await desk.claim()
        await desk.store.cancel(delivery_id, now=desk.now, reason="cancelled by ops")
        await desk.finish(claim, STOPPED)
        await desk.store.retry(delivery_id, now=desk.now)
        (second,) = await desk.claim()
        assert not await desk.store.renew("here", [delivery_id], lease=desk.now)
        assert await desk.finish(second, again(desk.now)) is State.PENDING

    @pytest.mark.parametrize("verdict", [SUCCEEDED, DEAD, STOPPED], ids=lambda v: v.state)
    async def test_an_ended_delivery_cannot_be_cancelled(
        self, desk: Desk, verdict: Verdict
    ) -> None:
        await desk.accept()
        delivery_id = await desk.run(verdict)
        with pytest.raises(Conflict, match=f"already ended \\({verdict.state}\\)"):
            await desk.store.cancel(delivery_id, now=desk.now, reason="")


class TestDeadlines:
    async def test_what_waited_too_long_is_cancelled(self, desk: Desk) -> None:
        late = await desk.accept(interactive=True, expires=desk.now + SECOND)
        early = await desk.accept(interactive=True, expires=desk.now + 2 * SECOND)
        desk.later()
        assert len(await desk.store.expire(now=desk.now)) == 1
        found = await desk.find(late)
        assert (found.state, found.ended, found.due) == (State.CANCELLED, desk.now, None)
        assert "deadline" in found.last_error
        assert await desk.state(early) is State.PENDING

    async def test_what_runs_is_not_cancelled(self, desk: Desk) -> None:
        await desk.accept(interactive=True, expires=desk.now + SECOND)
        (claim,) = await desk.claim()
        desk.later(100)
        assert len(await desk.store.expire(now=desk.now)) == 0
        assert await desk.finish(claim) is State.SUCCEEDED


Act = Callable[[Desk, str], Awaitable[object]]


async def _expire(desk: Desk, _: str) -> None:
    await desk.store.expire(now=desk.now + 1000 * SECOND)


async def _cancel(desk: Desk, delivery_id: str) -> None:
    await desk.store.cancel(delivery_id, now=desk.now, reason="by ops")


async def _finish(desk: Desk, _: str) -> None:
    await desk.run(DEAD)


async def _lose(desk: Desk, delivery_id: str) -> None:
    await desk.claim()
    await desk.store.cancel(delivery_id, now=desk.now, reason="by ops")
    await desk.recover(crashed=True)


class TestNotices:
    @pytest.mark.parametrize("act", [_expire, _cancel, _finish, _lose])
    async def test_who_waits_for_an_end_is_told(self, desk: Desk, act: Act) -> None:
        delivery_id = await desk.accept(interactive=True, expires=desk.now + SECOND)
        with desk.store.notices.watch(delivery_id) as ended:
            await act(desk, delivery_id)
            assert ended.is_set()

    async def test_another_attempt_is_no_end(self, desk: Desk) -> None:
        delivery_id = await desk.accept()
        with desk.store.notices.watch(delivery_id) as ended:
            await desk.run(again(desk.now))
            assert not ended.is_set()

    async def test_who_runs_a_delivery_is_told_to_stop_it(self, desk: Desk) -> None:
        stopped: list[str] = []
        desk.store.notices.on_stop(stopped.append)
        pending, running = await desk.accept("b.py"), await desk.accept()
        await desk.claim(room={"a.py": 1})
        for delivery_id in (pending, running):
            await desk.store.cancel(delivery_id, now=desk.now, reason="by ops")
        assert stopped == [running]

    @pytest.mark.parametrize("event", ["accept", "retry", "cancel", "recover"])
    async def test_who_takes_work_is_woken(self, desk: Desk, event: str) -> None:
        first, second = await desk.accept(), await desk.accept("b.py")
        await desk.claim(room={"a.py": 1})
        notices = desk.store.notices
        await notices.wait_for_work(0)
        waiting = asyncio.create_task(notices.wait_for_work(3600))
        match event:
            case "accept":
                await desk.accept()
            case "retry":
                await desk.store.retry(second, now=desk.now)
            case "cancel":
                await desk.store.cancel(second, now=desk.now, reason="")
            case "recover":
                await desk.recover(crashed=True)
        async with asyncio.timeout(10):
            await waiting
        assert first != second
