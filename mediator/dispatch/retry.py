"""What becomes of a delivery after an attempt ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from tenacity import RetryCallState, stop_after_attempt, stop_before_delay, wait_random
from tenacity.wait import wait_exponential

from mediator.model.delivery import Delivery, Ended, Outcome, State, Verdict
from mediator.model.policy import Policy, Retry


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


_SHUT_DOWN = "the mediator was shut down while this attempt ran"


def cut_short(*, now: datetime, error: str = _SHUT_DOWN) -> Verdict:
    """What is not the script's fault costs nothing, and the attempt is made again."""
    return Verdict(state=State.PENDING, due=now, error=error)


# When the next attempt is due, if any: tenacity's arithmetic on numbers that the store keeps.

JITTER = 0.2
"""Each wait is shorter by a random part of itself, up to this, so that not all come at once."""


def next_attempt(
    retry: Retry, *, failures: int, budget_start: datetime, now: datetime
) -> datetime | None:
    """When to try again after `failures` (1 or more) failed attempts; None: the budget is spent.

    Waits grow from `first` by doubling up to `longest`, less jitter. No attempt starts later than
    `total` after `budget_start`.
    """
    state = call_state(failures, (now - budget_start).total_seconds())
    wait = _wait(retry, state)
    state.upcoming_sleep = wait
    stop = stop_after_attempt(retry.attempts) | stop_before_delay(retry.total)
    return None if stop(state) else now + timedelta(seconds=wait)


def _wait(retry: Retry, state: RetryCallState) -> float:
    first, longest = retry.first.total_seconds(), retry.longest.total_seconds()
    base = float(wait_exponential(multiplier=first, max=longest)(state))
    return float(wait_random(base * (1 - JITTER), base)(state))


def call_state(failures: int, seconds: float) -> RetryCallState:
    """What tenacity's strategies look at: after `failures` failed calls in `seconds` seconds."""
    state = RetryCallState(cast("Any", None), None, (), {})
    state.attempt_number = failures
    state.start_time = 0.0
    state.outcome_timestamp = max(0.0, seconds)
    return state
