"""How an attempt in the foreground is judged, told, and turned into an exit code."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest

from mediator.cli.trial import Foretold, Made, foretell
from mediator.model.delivery import Delivery, Ended, Outcome, Output, State, TicketFields
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
    return Delivery(
        seq=1,
        id="id",
        script="notify.py",
        event="CREATE",
        arguments=(),
        variables={},
        ticket=TicketFields(),
        interactive=policy.kind.interactive,
        state=State.RUNNING,
        received=NOW,
        due=None,
        ended=None,
        expires=None,
        key_id="",
        budget_start=NOW,
        attempts_made=1,
        failures=0,
        losses=0,
        last_error="",
    )


def told(
    ended: Ended, policy: Policy = TRIGGER, *, stopped_by: signal.Signals | None = None
) -> Foretold:
    made = Made(ended=ended, seconds=1.234, stopped_by=stopped_by)
    return foretell(made, delivery(policy), policy, now=NOW)


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
    foretold = told(Ended(outcome=Outcome.FAILED, exit_code=3, reason="ended with exit code 3"))
    assert foretold.verdict.due is not None
    time = foretold.verdict.due.astimezone().strftime("%H:%M:%S")
    assert foretold.sentence == (
        f"failed, exit code 3, 1.23 s; the mediator would try again at about {time}, as attempt 2"
        " of 3"
    )


def test_a_code_to_give_up_on_makes_it_dead_and_says_why() -> None:
    foretold = told(Ended(outcome=Outcome.FAILED, exit_code=65, reason="ended with exit code 65"))
    assert foretold.verdict.state is State.DEAD
    assert "give up" in foretold.follows
    assert "the policy gives up on this exit code" in foretold.follows


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
