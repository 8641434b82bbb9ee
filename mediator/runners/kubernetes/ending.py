"""How an attempt in the cluster ended, told from how it stands and what was asked of it."""

from __future__ import annotations

import json
import signal

from mediator.model.attempts import Outcome
from mediator.runners.endings import Stopped
from mediator.runners.kubernetes.merging import Manifest
from mediator.runners.kubernetes.naming import STOPPED
from mediator.runners.kubernetes.program import CANNOT_EXECUTE, REFUSED
from mediator.runners.kubernetes.situation import (
    BY_DEADLINE,
    Exited,
    Failed,
    Running,
    Situation,
    Waiting,
)
from mediator.runners.port import Run

_SIGNALLED = 128
"""Added to the number of the signal that ended a container."""
_LAST_SIGNAL = 64
_HINTS = {
    CANNOT_EXECUTE: ": perhaps its first line names something that the image has, not executable",
    127: ": perhaps its first line names something that the image does not have",
}


def ended_fields(found: Situation, run: Run, *, stopped: Stopped | None) -> Manifest:
    """The fields of `Ended` that are not output."""
    if stopped is not None:
        return _stopped(found, run, stopped)
    if isinstance(found, Exited):
        return _exited(found)
    if isinstance(found, Failed):
        return {"outcome": found.outcome, "reason": found.reason, "final": found.final}
    if isinstance(found, Waiting):
        return {"outcome": found.outcome, "reason": found.reason}
    return {"outcome": Outcome.LOST, "reason": "its pod does not end"}


def _stopped(found: Situation, run: Run, stopped: Stopped) -> Manifest:
    code = found.code if isinstance(found, Exited) else None
    if code == _SIGNALLED + signal.SIGKILL:
        stopped = stopped.with_force(run)
    if isinstance(found, Running):
        stopped = stopped.with_force(run)
    return {"outcome": stopped.outcome, "reason": stopped.reason, **_numbers(code)}


def _exited(found: Exited) -> Manifest:
    if found.out_of_memory:
        reason = "killed because its pod used more memory than its limit"
        return {"outcome": Outcome.OUT_OF_MEMORY, "reason": reason, "signal": signal.SIGKILL.value}
    if found.code == CANNOT_EXECUTE and found.message.startswith(REFUSED):
        reason = f"not started: {found.message.removeprefix(REFUSED)}"
        return {"outcome": Outcome.NOT_STARTED, "reason": reason}
    numbers = _numbers(found.code)
    if found.by_deadline:
        return {"outcome": Outcome.TIMEOUT, "reason": BY_DEADLINE, **numbers}
    if numbers["signal"] is not None:
        return {"outcome": Outcome.SIGNAL, "reason": _signalled(numbers["signal"]), **numbers}
    if found.code == 0:
        return {"outcome": Outcome.OK, **numbers}
    reason = f"ended with exit code {found.code}{_HINTS.get(found.code, '')}"
    return {"outcome": Outcome.FAILED, "reason": reason, **numbers}


def _numbers(code: int | None) -> Manifest:
    """Exit code and signal: of a container there is one number for both."""
    number = (code or 0) - _SIGNALLED
    if 0 < number <= _LAST_SIGNAL:
        return {"exit_code": None, "signal": number}
    return {"exit_code": code, "signal": None}


def _signalled(number: int) -> str:
    try:
        return f"ended by signal {number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return f"ended by signal {number}"


END_NOW = {"spec": {"activeDeadlineSeconds": 1}}
"""Has a node end a pod as after its deadline: SIGTERM, grace, SIGKILL.

Unlike a pod that is deleted it stays: with its exit code, and with its log to be read to the end.
"""


def stop_patch(stopped: Stopped, *, has_pod: bool) -> Manifest:
    """Leaves word in a Job that its attempt is to end, and why; without a pod it gets none."""
    word = json.dumps({"outcome": stopped.outcome, "reason": stopped.reason})
    patch: Manifest = {"metadata": {"annotations": {STOPPED: word}}}
    return patch if has_pod else {**patch, "spec": {"parallelism": 0}}


def stopped_before(job: Manifest) -> Stopped | None:
    """What an earlier mediator stopped, and why."""
    word = job["metadata"].get("annotations", {}).get(STOPPED)
    if word is None:
        return None
    said = json.loads(word)
    return Stopped(outcome=Outcome(said["outcome"]), reason=said["reason"])
