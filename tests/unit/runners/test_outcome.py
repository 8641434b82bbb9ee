"""How an attempt ended, and why a script could not be executed, in words."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from mediator.model.delivery import Ended, Outcome
from mediator.runners.launcher_client import ExecFailed, Finished, Vanished
from mediator.runners.outcome import Stopped, explain, judge
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
        pytest.param(finished(), Ended(outcome=Outcome.OK, exit_code=0, leftovers=2), id="0"),
        pytest.param(
            finished(code=3),
            Ended(
                outcome=Outcome.FAILED, exit_code=3, reason="ended with exit code 3", leftovers=2
            ),
            id="3",
        ),
        pytest.param(
            finished(number=signal.SIGSEGV),
            Ended(
                outcome=Outcome.SIGNAL,
                signal=11,
                reason="ended by signal 11 (SIGSEGV)",
                leftovers=2,
            ),
            id="SIGSEGV",
        ),
        pytest.param(
            finished(number=signal.SIGSEGV | 0x80),
            Ended(
                outcome=Outcome.SIGNAL,
                signal=11,
                reason="ended by signal 11 (SIGSEGV)",
                leftovers=2,
            ),
            id="SIGSEGV with a core dump",
        ),
        pytest.param(
            finished(number=signal.SIGKILL),
            Ended(
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
            Ended(outcome=Outcome.SIGNAL, signal=40, reason="ended by signal 40", leftovers=2),
            id="real-time signal",
        ),
        pytest.param(
            Vanished(reason="gone"), Ended(outcome=Outcome.LOST, reason="gone"), id="vanished"
        ),
        pytest.param(
            ExecFailed(errno=errno.ENOMEM, step="fork"),
            Ended(outcome=Outcome.NOT_STARTED, reason="not started: there was not enough memory"),
            id="not executed",
        ),
    ],
)
def test_an_end_of_its_own(report: Finished | ExecFailed | Vanished, ending: Ended) -> None:
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


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.E2BIG, "larger than the system allows"),
        (errno.ENOMEM, "not enough memory"),
        (errno.EAGAIN, "too many processes"),
        (errno.EMFILE, "the mediator has too many open files"),
        (errno.ENFILE, "the system has too many open files"),
        (errno.ETXTBSY, "open for writing"),
        (errno.ELOOP, "loop of links"),
        (errno.ENOTDIR, "not a directory"),
        (errno.EIO, "Input/output error"),
        (0, "unknown error"),
    ],
    ids=lambda value: errno.errorcode.get(value) if isinstance(value, int) else None,
)
def test_every_cause_has_words(number: int, words: str) -> None:
    reason = explain(ExecFailed(errno=number, step="execute"), Path("/scripts/notify.py"))
    assert reason.startswith("not started: ")
    assert words in reason


def test_a_working_directory_is_not_the_scripts_fault() -> None:
    reason = explain(ExecFailed(errno=errno.EACCES, step="enter"), Path("/scripts/notify.py"))
    assert reason == "not started: its working directory is not usable (Permission denied)"


@pytest.mark.parametrize(
    ("content", "number", "words"),
    [
        pytest.param(b"\x7fELF", errno.ENOENT, "library loader", id="no loader"),
        pytest.param(b"#!/bin/x", errno.ENOENT, "bad interpreter: /bin/x named", id="no newline"),
        pytest.param(b"#! \t/bin/x -y\n", errno.ENOENT, "bad interpreter: /bin/x ", id="blanks"),
        pytest.param(b"#!/bin/x\r\n", errno.ENOENT, "carriage return", id="carriage return"),
        pytest.param(b"#!/bin/x -y\r\n", errno.ENOENT, "interpreter: /bin/x ", id="later return"),
        pytest.param(b"#!/\xff\n", errno.ENOENT, "interpreter: /\udcff named", id="not UTF-8"),
        pytest.param(b"#!\n", errno.ENOEXEC, "must name its interpreter", id="nothing named"),
        pytest.param(b"#!/bin/bash\n", errno.EACCES, "noexec", id="noexec"),
    ],
)
def test_the_first_line_is_read(tmp_path: Path, content: bytes, number: int, words: str) -> None:
    program = tmp_path / "script"
    program.write_bytes(content)
    program.chmod(0o755)
    assert words in explain(ExecFailed(errno=number, step="execute"), program)


def test_a_script_that_vanishes_meanwhile_still_has_a_reason(tmp_path: Path) -> None:
    reason = explain(ExecFailed(errno=errno.EACCES, step="execute"), tmp_path / "gone")
    assert reason.endswith("gone: No such file or directory")
