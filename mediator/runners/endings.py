"""How an attempt ended, told from what its supervisor reported and what was asked of it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from datetime import timedelta

from mediator.model.attempts import Outcome
from mediator.model.durations import format_duration
from mediator.runners.port import Run
from mediator.runners.refusals import explain
from mediator.runners.supervision import Finished, Refused, Report

_HINTS = {
    signal.SIGXCPU: ": it used more processor time than its limit",
    signal.SIGXFSZ: ": it wrote a larger file than its limit",
    signal.SIGKILL: ", which the mediator did not send: perhaps the system ran out of memory",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """The part of `Ended` that is not output. Its fields are those of `Ended`."""

    outcome: Outcome
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    leftovers: int = 0


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


def judge(report: Report, run: Run, *, stopped: Stopped | None) -> Ending:
    """Name the end. A script that ended before `stopped` reached it has its own outcome."""
    if isinstance(report, Refused):
        return Ending(outcome=Outcome.NOT_STARTED, reason=explain(report, run.program))
    if isinstance(report, Finished):
        return _finished(report, stopped)
    return Ending(outcome=Outcome.LOST, reason=report.reason)


def _finished(report: Finished, stopped: Stopped | None) -> Ending:
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
    return Ending(
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
