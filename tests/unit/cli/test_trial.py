"""How an attempt in the foreground is judged, told, and turned into an exit code."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest

from mediator.cli.trial import DryRunReport, ForegroundAttempt, report
from mediator.model.delivery import (
    Delivery,
    Ended,
    NewDelivery,
    Outcome,
    Output,
    State,
    TicketFields,
)
from mediator.model.policy import Kind, Limits, Policy, PolicyDefaults, Retry, StatedPolicy, resolve

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DEFAULTS = PolicyDefaults(
    timeout=timedelta(minutes=5),
    interactive_timeout=timedelta(seconds=30),
    grace=timedelta(seconds=10),
    retry=Retry(attempts=3, first=timedelta(seconds=2)),
)
TRIGGER = resolve(DEFAULTS)
CONDITION = resolve(DEFAULTS, StatedPolicy(kind=Kind.CONDITION))
ANSWER = b"<response><condition_result>true</condition_result></response>"


def delivery(policy: Policy) -> Delivery:
    new = NewDelivery(
        id="id",
        script="notify.py",
        event="CREATE",
        arguments=(),
        variables={},
        body=b"",
        ticket=TicketFields(),
        received=NOW,
        key_id="",
        idempotency_key="",
        interactive=policy.kind.interactive,
    )
    return new.at_first_attempt()


def told(
    ended: Ended, policy: Policy = TRIGGER, *, stopped_by: signal.Signals | None = None
) -> DryRunReport:
    made = ForegroundAttempt(ended=ended, seconds=1.234, stopped_by=stopped_by)
    return report(made, delivery(policy), policy, now=NOW)


@pytest.mark.parametrize(
    ("ended", "stopped_by", "code"),
    [
        pytest.param(Ended(outcome=Outcome.OK, exit_code=0), None, 0, id="ok"),
        pytest.param(Ended(outcome=Outcome.FAILED, exit_code=3), None, 3, id="failed"),
        pytest.param(Ended(outcome=Outcome.SIGNAL, signal=9), None, 137, id="killed"),
        pytest.param(Ended(outcome=Outcome.TIMEOUT, signal=15), None, 143, id="timeout"),
        pytest.param(
            Ended(outcome=Outcome.TIMEOUT, exit_code=0), None, 143, id="a timeout is no success"
        ),
        pytest.param(Ended(outcome=Outcome.TIMEOUT, exit_code=4), None, 4, id="timeout, own code"),
        pytest.param(Ended(outcome=Outcome.NOT_STARTED), None, 126, id="not started"),
        pytest.param(Ended(outcome=Outcome.LOST), None, 1, id="lost"),
        pytest.param(
            Ended(outcome=Outcome.CANCELLED, exit_code=0), signal.SIGINT, 130, id="Ctrl-C"
        ),
        pytest.param(
            Ended(outcome=Outcome.CANCELLED, signal=9), signal.SIGTERM, 143, id="terminated"
        ),
        pytest.param(
            Ended(outcome=Outcome.OK, exit_code=0), signal.SIGINT, 0, id="ended before Ctrl-C"
        ),
    ],
)
def test_the_exit_code_is_what_a_shell_would_say(
    ended: Ended, stopped_by: signal.Signals | None, code: int
) -> None:
    assert told(ended, stopped_by=stopped_by).exit_code == code


def test_a_success_is_the_end() -> None:
    sentence = told(Ended(outcome=Outcome.OK, exit_code=0)).sentence
    assert sentence == "ok, exit code 0, 1.23 s; the mediator would be done"


def test_a_failure_is_tried_again_at_a_time() -> None:
    dry_run = told(Ended(outcome=Outcome.FAILED, exit_code=3, reason="ended with exit code 3"))
    assert dry_run.verdict.due is not None
    time = dry_run.verdict.due.astimezone().strftime("%H:%M:%S")
    assert dry_run.sentence == (
        f"failed, exit code 3, 1.23 s; the mediator would try again at about {time}, as attempt 2"
        " of 3"
    )


def test_a_code_to_give_up_on_makes_it_dead_and_says_why() -> None:
    dry_run = told(Ended(outcome=Outcome.FAILED, exit_code=65, reason="ended with exit code 65"))
    assert dry_run.verdict.state is State.DEAD
    assert "give up" in dry_run.follows
    assert "the policy gives up on this exit code" in dry_run.follows


def test_a_timeout_names_its_reason_and_what_was_left_behind() -> None:
    ended = Ended(outcome=Outcome.TIMEOUT, signal=15, reason="stopped after 2s", leftovers=2)
    sentence = told(ended).sentence
    assert sentence.startswith("timeout, exit code 143, 1.23 s, stopped after 2s, 2 processes")


@pytest.mark.parametrize(
    ("ended", "follows"),
    [
        pytest.param(
            Ended(outcome=Outcome.OK, exit_code=0, stdout=Output(head=ANSWER)),
            "SecureChange would get this answer",
            id="an answer",
        ),
        pytest.param(
            Ended(outcome=Outcome.OK, exit_code=0),
            "SecureChange could not use the answer: it printed nothing,"
            " and <response> was expected",
            id="no answer",
        ),
        pytest.param(
            Ended(outcome=Outcome.TIMEOUT, signal=15),
            "SecureChange would hear that it ran out of time",
            id="timeout",
        ),
        pytest.param(
            Ended(outcome=Outcome.NOT_STARTED),
            "SecureChange would hear that it could not be run",
            id="not started",
        ),
    ],
)
def test_an_interactive_script_is_told_what_securechange_would_hear(
    ended: Ended, follows: str
) -> None:
    assert told(ended, CONDITION).follows == follows


@pytest.mark.parametrize(
    ("stdout", "policy"),
    [
        pytest.param(b"", CONDITION, id="nothing"),
        pytest.param(b"<tasks/>", CONDITION, id="another document"),
        pytest.param(
            ANSWER,
            resolve(DEFAULTS, StatedPolicy(kind=Kind.CONDITION, limits=Limits(output=4))),
            id="too long",
        ),
    ],
)
def test_a_bad_answer_is_judged_as_the_dispatcher_judges_it(stdout: bytes, policy: Policy) -> None:
    dry_run = told(Ended(outcome=Outcome.OK, exit_code=0, stdout=Output(head=stdout)), policy)
    assert dry_run.attempt.ended.outcome is Outcome.BAD_ANSWER
    assert dry_run.verdict.state is State.DEAD
    assert dry_run.exit_code == 0


def test_output_beyond_the_limit_is_told() -> None:
    small = resolve(DEFAULTS, StatedPolicy(limits=Limits(output=4)))
    ended = Ended(outcome=Outcome.OK, exit_code=0, stderr=Output(head=b"12345"))
    assert told(ended, small).follows.endswith("the mediator keeps 4 bytes (limits.output)")
    answering = resolve(DEFAULTS, StatedPolicy(kind=Kind.CONDITION, limits=Limits(output=4)))
    long = Ended(outcome=Outcome.OK, exit_code=0, stdout=Output(head=ANSWER))
    assert "would get no answer" in told(long, answering).follows


def test_what_a_person_stopped_is_followed_by_nothing() -> None:
    ended = Ended(outcome=Outcome.CANCELLED, signal=15, reason="stopped because that was asked for")
    assert told(ended, stopped_by=signal.SIGINT).follows == "you stopped it"
