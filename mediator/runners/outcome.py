"""How an attempt ended, told from what its supervisor reported and what was asked of it.

Also why a script could not be executed, in one sentence for the person who installed it.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from mediator.model.delivery import Ended, Outcome
from mediator.model.durations import format_duration
from mediator.runners.launcher_client import ExecFailed, Finished, Report
from mediator.runners.port import Run

_HINTS = {
    signal.SIGXCPU: ": it used more processor time than its limit",
    signal.SIGXFSZ: ": it wrote a larger file than its limit",
    signal.SIGKILL: ", which the mediator did not send: perhaps the system ran out of memory",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """That the mediator ended an attempt, and why."""

    outcome: Outcome
    reason: str

    @classmethod
    def by_timeout(cls, run: Run) -> Stopped:
        """The policy's timeout is over."""
        reason = f"stopped after its timeout of {_duration(run.timeout)}"
        return cls(outcome=Outcome.TIMEOUT, reason=reason)

    @classmethod
    def by_request(cls) -> Stopped:
        """Whoever called `run` asked for it."""
        return cls(outcome=Outcome.CANCELLED, reason="stopped because that was asked for")

    @classmethod
    def by_closing(cls) -> Stopped:
        """The runner was closed."""
        return cls(outcome=Outcome.CANCELLED, reason="killed because the mediator shuts down")

    def with_force(self, run: Run) -> Stopped:
        """The same, after SIGTERM was of no use."""
        force = f", by SIGKILL since SIGTERM did not end it within {_duration(run.grace)}"
        return replace(self, reason=self.reason + force)


def judge(report: Report, run: Run, *, stopped: Stopped | None) -> Ended:
    """The end, without output. A script that ended before `stopped` reached it has its own."""
    if isinstance(report, ExecFailed):
        return Ended(outcome=Outcome.NOT_STARTED, reason=explain(report, run.program))
    if isinstance(report, Finished):
        return _finished(report, stopped)
    return Ended(outcome=Outcome.LOST, reason=report.reason)


def _finished(report: Finished, stopped: Stopped | None) -> Ended:
    code = os.WEXITSTATUS(report.status) if os.WIFEXITED(report.status) else None
    number = os.WTERMSIG(report.status) if os.WIFSIGNALED(report.status) else None
    if report.asked and stopped is not None:
        outcome, reason = stopped.outcome, stopped.reason
    elif number is not None:
        outcome, reason = Outcome.SIGNAL, _signalled(number)
    elif code == 0:
        outcome, reason = Outcome.OK, ""
    else:
        outcome, reason = Outcome.FAILED, f"ended with exit code {code}"
    return Ended(
        outcome=outcome, exit_code=code, signal=number, reason=reason, leftovers=report.leftovers
    )


def _signalled(number: int) -> str:
    try:
        known = signal.Signals(number)
    except ValueError:  # a real-time signal
        return f"ended by signal {number}"
    return f"ended by signal {number} ({known.name}){_HINTS.get(known, '')}"


def _duration(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))


_FIRST_LINE = 256  # bytes of the first line that the kernel reads (execve(2))
_BY_NUMBER = {
    errno.E2BIG: "its arguments and environment together are larger than the system allows",
    errno.ENOMEM: "there was not enough memory",
    errno.EAGAIN: "there were too many processes",
    errno.EMFILE: "the mediator has too many open files",
    errno.ENFILE: "the system has too many open files",
    errno.ETXTBSY: "it is open for writing: somebody is still copying it",
    errno.ELOOP: "its path or its interpreter is a loop of links",
    errno.ENOTDIR: "a part of its path is not a directory",
}


def explain(failed: ExecFailed, program: Path) -> str:
    """The sentence for `Ended.reason`; looks at the file to find the cause."""
    if failed.step == "enter":
        return f"not started: its working directory is not usable ({_name(failed.errno)})"
    return f"not started: {_cause(failed.errno, program)}"


def _cause(number: int, program: Path) -> str:
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    try:
        if number == errno.ENOENT:
            return _not_found(program)
        if number == errno.EACCES:
            return _not_permitted(program)
        if number == errno.ENOEXEC:
            return _no_format(program)
    except OSError as error:
        return f"{program}: {error.strerror}"
    return f"{program}: {_name(number)}"


def _not_found(program: Path) -> str:
    if not program.exists():
        return f"{program} does not exist"
    interpreter = _interpreter(program)
    if interpreter is None:
        return f"a library loader that {program} needs does not exist"
    if interpreter.endswith("\r"):
        return (
            f"the first line of {program} ends with a carriage return, as Windows editors write it;"
            " convert the file to Unix line ends"
        )
    return f"bad interpreter: {interpreter} named in its first line does not exist"


def _not_permitted(program: Path) -> str:
    mode = program.stat().st_mode
    if not stat.S_ISREG(mode):
        return f"{program} is not a file"
    if not os.access(program, os.X_OK):
        return f"{program} is not executable; set its run bit (chmod +x)"
    interpreter = _interpreter(program)
    if interpreter is not None and not os.access(interpreter, os.X_OK):
        return f"bad interpreter: {interpreter} named in its first line is not executable"
    return f"{program} may not be executed; perhaps its file system is mounted noexec"


def _no_format(program: Path) -> str:
    if program.stat().st_size == 0:
        return f"{program} is empty"
    interpreter = _interpreter(program)
    if interpreter is not None:
        return f"bad interpreter: {interpreter} named in its first line is not a program"
    return f"{program} must name its interpreter in the first line, for example #!/usr/bin/env bash"


def _interpreter(program: Path) -> str | None:
    """What the first line names, or None when it names nothing."""
    with program.open("rb") as file:
        line = file.read(_FIRST_LINE).partition(b"\n")[0]
    words = line[2:].strip(b" \t").split() if line.startswith(b"#!") else []
    if not words:
        return None
    ending = b"\r" if line.endswith(words[0] + b"\r") else b""
    return os.fsdecode(words[0] + ending)


def _name(number: int) -> str:
    return os.strerror(number) if number else "unknown error"
