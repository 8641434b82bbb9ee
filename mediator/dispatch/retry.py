"""What becomes of a delivery after an attempt ended, and how long whoever tries again waits.

tenacity computes the waits. What it needs for that (failed attempts, since when) is kept in the
store, so that it survives a restart.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tenacity import (
    RetryCallState,
    Retrying,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random,
)
from tenacity.wait import wait_base

from mediator.model.delivery import Delivery, Ended, Outcome, State, Verdict
from mediator.model.policy import Policy, Retry

JITTER = 0.2
"""Each wait is shorter by a random part of itself, up to this, so that not all come at once."""
_SHUT_DOWN = "the mediator was shut down while this attempt ran"


def judge(ended: Ended, delivery: Delivery, policy: Policy, *, now: datetime) -> Verdict:
    """The verdict by the policy. `cancelled` means that somebody asked for it."""
    if ended.outcome is Outcome.OK:
        return Verdict(state=State.SUCCEEDED)
    if ended.outcome is Outcome.CANCELLED:
        return Verdict(state=State.CANCELLED, error="cancelled while it ran")
    if delivery.interactive:
        return Verdict(state=State.DEAD, charged=True, error=ended.reason)
    if why := _hopeless(ended, policy):
        return Verdict(state=State.DEAD, charged=True, error=f"{ended.reason}; {why}")
    due = next_attempt(
        policy.retry,
        failures=delivery.failures + 1,
        budget_start=delivery.budget_start,
        now=now,
    )
    if due is None:
        error = f"{ended.reason}; no attempt is left by the policy"
        return Verdict(state=State.DEAD, charged=True, error=error)
    return Verdict(state=State.PENDING, due=due, charged=True, error=ended.reason)


def _hopeless(ended: Ended, policy: Policy) -> str:
    """Why no other attempt is worth it; empty: it is."""
    if ended.final:
        return "another attempt would end in the same way"
    # What a script exits with after the mediator stopped it says nothing of the ticket.
    if ended.outcome is Outcome.FAILED and ended.exit_code in policy.give_up_on:
        return "the policy gives up on this exit code"
    return ""


def cut_short(*, now: datetime, error: str = _SHUT_DOWN) -> Verdict:
    """What is not the script's fault costs nothing, and the attempt is made again."""
    return Verdict(state=State.PENDING, due=now, error=error)


def next_attempt(
    retry: Retry, *, failures: int, budget_start: datetime, now: datetime
) -> datetime | None:
    """When to try again after `failures` (1 or more) failed attempts; None: the budget is spent.

    Waits grow from `first` by doubling up to `longest`, less jitter. No attempt starts later than
    `total` after `budget_start`.
    """
    first, longest = retry.first.total_seconds(), retry.longest.total_seconds()
    state = _failed(failures, seconds=(now - budget_start).total_seconds())
    base = float(wait_exponential(multiplier=first, max=longest)(state))
    state.upcoming_sleep = float(wait_random(base * (1 - JITTER), base)(state))
    spent = stop_after_attempt(retry.attempts) | stop_before_delay(retry.total)
    return None if spent(state) else now + timedelta(seconds=state.upcoming_sleep)


class Backoff:
    """Growing waits of a loop that goes on by itself while what it needs is away."""

    def __init__(self, wait: wait_base) -> None:
        """`wait`: one of tenacity's."""
        self._wait = wait
        self._failures = 0

    def reset(self) -> None:
        """It is there: the next failure is the first."""
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        self._failures += 1
        return round(float(self._wait(_failed(self._failures))), 2)


def _failed(calls: int, *, seconds: float = 0.0) -> RetryCallState:
    """What tenacity's strategies are asked about: so many calls that failed, in so many seconds.

    Elsewhere tenacity makes it, where it also makes the calls; here others make them, over days.
    """
    state = RetryCallState(Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = calls
    state.start_time = 0.0
    state.outcome_timestamp = max(0.0, seconds)
    return state
