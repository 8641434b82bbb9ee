"""When the next attempt is due, if any: tenacity's arithmetic on numbers that the store keeps.

tenacity's own loop keeps its state in memory; here the state is columns, so a budget survives
restarts. Its strategies are asked through a call state made from those columns.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from tenacity import RetryCallState, stop_after_attempt, stop_before_delay, wait_random
from tenacity.wait import wait_exponential

from mediator.model.policies import Retry

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
