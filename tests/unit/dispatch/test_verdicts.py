"""What becomes of a delivery, for every way an attempt can end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediator.dispatch.retry import cut_short, judge
from mediator.model.delivery import Ended, Outcome, State, Verdict
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
