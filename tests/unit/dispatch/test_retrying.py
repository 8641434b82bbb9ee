"""Waits grow, stay within their bounds, and end with the budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediator.dispatch.retry import JITTER, next_attempt
from mediator.model.policy import Retry

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)


def wait(retry: Retry, failures: int, spent: timedelta = timedelta(0)) -> float | None:
    """Seconds until the next attempt; None: there is none."""
    due = next_attempt(retry, failures=failures, budget_start=NOW - spent, now=NOW)
    return None if due is None else (due - NOW).total_seconds()


def retry(**stated: object) -> Retry:
    return Retry.model_validate({"attempts": 1000, "total": "9999d", **stated})


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, 512), (10, 600), (900, 600)]
)
def test_waits_double_up_to_the_longest(failures: int, longest: float) -> None:
    seconds = [wait(retry(first="2s", longest="10m"), failures) for _ in range(200)]
    assert all(s is not None and longest * (1 - JITTER) <= s <= longest for s in seconds)
    assert len(set(seconds)) > 100, "not all at once"


def test_the_first_wait_is_never_longer_than_the_longest() -> None:
    seconds = wait(retry(first="1h", longest="10s"), 1)
    assert seconds is not None
    assert seconds <= 10


def test_a_wait_can_be_nothing() -> None:
    assert wait(retry(first="0s"), 5) == 0


@pytest.mark.parametrize(("attempts", "failures"), [(1, 1), (5, 5), (5, 6)])
def test_no_attempt_is_left_after_the_last(attempts: int, failures: int) -> None:
    assert wait(retry(attempts=attempts), failures) is None


def test_one_attempt_is_left_before_the_last() -> None:
    assert wait(retry(attempts=5), 4) is not None


@pytest.mark.parametrize(
    ("spent", "left"),
    [
        (DAY - timedelta(seconds=3), True),
        (DAY - timedelta(seconds=1), False),
        (DAY, False),
        (2 * DAY, False),
    ],
    ids=str,
)
def test_no_attempt_starts_after_the_total(spent: timedelta, left: bool) -> None:
    seconds = wait(retry(first="2s", longest="2s", total="24h"), 1, spent)
    assert (seconds is not None) is left


def test_a_clock_that_went_back_costs_nothing() -> None:
    assert wait(retry(), 1, timedelta(hours=-5)) is not None


durations = st.timedeltas(timedelta(0), timedelta(days=30))


@given(
    first=durations,
    longest=durations,
    total=durations,
    attempts=st.integers(1, 1000),
    failures=st.integers(1, 1000),
    spent=durations,
)
def test_every_bound_holds_together(
    first: timedelta,
    longest: timedelta,
    total: timedelta,
    attempts: int,
    failures: int,
    spent: timedelta,
) -> None:
    policy = Retry(attempts=attempts, first=first, longest=longest, total=total)
    seconds = wait(policy, failures, spent)
    if failures >= attempts:
        assert seconds is None
    if seconds is None:
        assert failures >= attempts or spent + longest >= total or spent + first >= total
    else:
        assert 0 <= seconds <= longest.total_seconds() + 1e-6
        assert spent.total_seconds() + seconds <= total.total_seconds() + 1e-6
