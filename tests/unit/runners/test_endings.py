from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from mediator.model.delivery import Outcome
from mediator.runners.launcher_client import Finished, Refused, Vanished
from mediator.runners.outcome import Ending, Stopped, judge
from mediator.runners.port import Run

RUN = Run(
    name="d1",
    program=Path("/scripts/notify.py"),
    arguments=(),
    environment={},
    stdin=b"",
    timeout=90,
    grace=0.5,
)


def finished(*, code: int = 0, number: int = 0, asked: bool = False) -> Finished:
    return Finished(status=code << 8 | number, asked=asked, leftovers=2, survivors=0)


@pytest.mark.parametrize(
    ("report", "ending"),
    [
        pytest.param(finished(), Ending(outcome=Outcome.OK, exit_code=0, leftovers=2), id="0"),
        pytest.param(
            finished(code=3),
            Ending(
                outcome=Outcome.FAILED, exit_code=3, reason="ended with exit code 3", leftovers=2
            ),
            id="3",
        ),
        pytest.param(
            finished(number=signal.SIGSEGV),
            Ending(
                outcome=Outcome.SIGNAL,
                signal=11,
                reason="ended by signal 11 (SIGSEGV)",
                leftovers=2,
            ),
            id="SIGSEGV",
        ),
        pytest.param(
            finished(number=signal.SIGSEGV | 0x80),
            Ending(
                outcome=Outcome.SIGNAL,
                signal=11,
                reason="ended by signal 11 (SIGSEGV)",
                leftovers=2,
            ),
            id="SIGSEGV with a core dump",
        ),
        pytest.param(
            finished(number=signal.SIGKILL),
            Ending(
                outcome=Outcome.SIGNAL,
                signal=9,
                reason="ended by signal 9 (SIGKILL), which the mediator did not send: perhaps the"
                " system ran out of memory",
                leftovers=2,
            ),
            id="SIGKILL",
        ),
        pytest.param(
            finished(number=40),
            Ending(outcome=Outcome.SIGNAL, signal=40, reason="ended by signal 40", leftovers=2),
            id="real-time signal",
        ),
        pytest.param(
            Vanished(reason="gone"), Ending(outcome=Outcome.LOST, reason="gone"), id="vanished"
        ),
        pytest.param(
            Refused(errno=errno.ENOMEM, step="fork"),
            Ending(outcome=Outcome.NOT_STARTED, reason="not started: there was not enough memory"),
            id="refused",
        ),
    ],
)
def test_an_end_of_its_own(report: Finished | Refused | Vanished, ending: Ending) -> None:
    assert judge(report, RUN, stopped=None) == ending


@pytest.mark.parametrize(
    ("stopped", "outcome", "reason"),
    [
        pytest.param(
            Stopped.by_timeout(RUN),
            Outcome.TIMEOUT,
            "stopped after its timeout of 90s",
            id="timeout",
        ),
        pytest.param(
            Stopped.by_timeout(RUN).with_force(RUN),
            Outcome.TIMEOUT,
            "stopped after its timeout of 90s, by SIGKILL since SIGTERM did not end it within"
            " 500ms",
            id="timeout with force",
        ),
        pytest.param(
            Stopped.by_request(),
            Outcome.CANCELLED,
            "stopped because that was asked for",
            id="request",
        ),
        pytest.param(
            Stopped.by_closing(),
            Outcome.CANCELLED,
            "killed because the mediator shuts down",
            id="closing",
        ),
    ],
)
def test_an_end_that_was_brought_about(stopped: Stopped, outcome: Outcome, reason: str) -> None:
    ending = judge(finished(code=4, asked=True), RUN, stopped=stopped)
    assert (ending.outcome, ending.exit_code, ending.reason) == (outcome, 4, reason)


def test_a_script_that_ended_just_before_it_was_stopped_has_its_own_outcome() -> None:
    ending = judge(finished(code=0, asked=False), RUN, stopped=Stopped.by_timeout(RUN))
    assert (ending.outcome, ending.reason) == (Outcome.OK, "")
