"""What becomes of a delivery, however an attempt ends; waits grow, and end with the budget."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import wait_exponential

from mediator.dispatch.retry import JITTER, Backoff, cut_short, judge, next_attempt
from mediator.model.delivery import Ended, Outcome, State, Verdict
from mediator.model.policy import Retry
from tests.unit.dispatch.support import NOW, delivery, policy

ENDS = {
    "ok": Ended(outcome=Outcome.OK, exit_code=0),
    "failed": Ended(outcome=Outcome.FAILED, exit_code=1, reason="code 1"),
    "tempfail": Ended(outcome=Outcome.FAILED, exit_code=75, reason="code 75"),
    "give up": Ended(outcome=Outcome.FAILED, exit_code=65, reason="code 65"),
    "signal": Ended(outcome=Outcome.SIGNAL, signal=9, reason="killed"),
    "timeout": Ended(outcome=Outcome.TIMEOUT, signal=15, reason="too slow"),
    "timeout with a code": Ended(outcome=Outcome.TIMEOUT, exit_code=65, reason="too slow"),
    "not started": Ended(outcome=Outcome.NOT_STARTED, reason="no interpreter"),
    "lost": Ended(outcome=Outcome.LOST, reason="launcher died"),
    "cancelled": Ended(outcome=Outcome.CANCELLED, reason="asked for"),
}
RETRIED = {
    "failed",
    "tempfail",
    "signal",
    "timeout",
    "timeout with a code",
    "not started",
    "lost",
}
ATTEMPTS = 3


def verdict(end: str, *, interactive: bool = False, failures: int = 0) -> Verdict:
    return judge(
        ENDS[end],
        delivery(interactive=interactive, failures=failures),
        policy(retry={"attempts": ATTEMPTS, "first": "2s"}),
        now=NOW,
    )


@pytest.mark.parametrize("interactive", [False, True], ids=["trigger", "interactive"])
@pytest.mark.parametrize("failures", [0, ATTEMPTS - 1], ids=["budget left", "last attempt"])
@pytest.mark.parametrize("end", ENDS)
def test_the_verdict_on_every_end(end: str, *, failures: int, interactive: bool) -> None:
    judged = verdict(end, interactive=interactive, failures=failures)
    if end == "ok":
        expected, charged = State.SUCCEEDED, False
    elif end == "cancelled":
        expected, charged = State.CANCELLED, False
    elif end in RETRIED and not interactive and failures < ATTEMPTS - 1:
        expected, charged = State.PENDING, True
    else:
        expected, charged = State.DEAD, True
    assert (judged.state, judged.charged) == (expected, charged)
    assert bool(judged.error) is (end != "ok"), "every failure has its sentence"


def test_the_next_attempt_waits() -> None:
    due = verdict("failed").due
    assert due is not None
    assert NOW < due <= NOW + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("end", "failures", "sentence"),
    [
        ("give up", 0, "code 65; the policy gives up on this exit code"),
        ("failed", ATTEMPTS - 1, "code 1; no attempt is left by the policy"),
        ("failed", 0, "code 1"),
    ],
)
def test_the_reason_says_why_it_is_not_tried_again(end: str, failures: int, sentence: str) -> None:
    assert verdict(end, failures=failures).error == sentence


def test_the_policy_says_which_codes_give_up() -> None:
    judged = judge(ENDS["give up"], delivery(), policy(give_up_on=[1]), now=NOW)
    assert judged.state is State.PENDING
    judged = judge(ENDS["failed"], delivery(), policy(give_up_on=[1]), now=NOW)
    assert judged.state is State.DEAD


def test_the_total_counts_from_the_start_of_the_budget() -> None:
    rules = policy(retry={"total": "1h"})
    old = {"received": NOW - timedelta(days=9)}
    spent = delivery(**old, budget_start=NOW - timedelta(hours=2))
    fresh = delivery(**old, budget_start=NOW)
    assert judge(ENDS["failed"], spent, rules, now=NOW).state is State.DEAD
    assert judge(ENDS["failed"], fresh, rules, now=NOW).state is State.PENDING


def test_what_a_shutdown_cut_short_is_due_at_once_and_costs_nothing() -> None:
    cut = cut_short(now=NOW)
    assert (cut.state, cut.due, cut.charged) == (State.PENDING, NOW, False)


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


def test_waits_for_what_is_away_grow_and_begin_anew_when_it_was_there() -> None:
    backoff = Backoff(wait_exponential(multiplier=1, max=4))
    assert [backoff.next() for _ in range(4)] == [1, 2, 4, 4]
    backoff.reset()
    assert backoff.next() == 1
