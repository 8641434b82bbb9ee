"""How a run in the cluster stands, and how its attempt ended: pure, from what the cache holds.

`status_of` reads the Job and the pod as the API has them; `ended_fields` makes of the last status,
and of what was asked of the attempt, what the store records.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mediator.kube.client import Manifest
from mediator.model.delivery import Outcome
from mediator.runners.kubernetes.informer import CachedRun
from mediator.runners.kubernetes.manifests import CANNOT_EXECUTE, REFUSED, SCRIPT_CONTAINER
from mediator.runners.outcome import Stopped
from mediator.runners.port import Run

_NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_NO_CONTAINER = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
_HOPELESS = "InvalidImageName"
_DEADLINE = "DeadlineExceeded"
BY_DEADLINE = "ended by its node after the deadline of its pod"

_SIGNALLED = 128
"""Added to the number of the signal that ended a container."""
_LAST_SIGNAL = 64
_HINTS = {
    CANNOT_EXECUTE: ": perhaps its first line names something that the image has, not executable",
    127: ": perhaps its first line names something that the image does not have",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """The script has not started yet."""

    reason: str
    outcome: Outcome = Outcome.NOT_STARTED
    """what it comes to when it waits for too long"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """The script runs."""

    since: datetime
    """by the node's clock"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exited:
    """The script's container has ended."""

    code: int
    out_of_memory: bool = False
    by_deadline: bool = False
    """its node ended it after the pod's deadline"""
    message: str = ""
    """what it left as its termination message"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """It will not run, or not to its end."""

    outcome: Outcome
    reason: str
    final: bool = False
    """another attempt can only fail in the same way"""


RunStatus = Pending | Running | Exited | Failed


def status_of(run: CachedRun) -> RunStatus:
    """How a run stands."""
    pod, job = run.pod, run.job
    if pod is None:
        return _without_pod(job, gone=run.job_gone)
    status = pod.get("status", {})
    if (failed := _evicted(status)) is not None:
        return failed
    state = _script_state(status)
    if (ended := state.get("terminated")) is not None:
        return _exited(ended, by_deadline=status.get("reason") == _DEADLINE)
    if run.pod_gone:
        return _removed(status, job if run.job_gone else None)
    if (running := state.get("running")) is not None:
        return Running(since=_time(running["startedAt"]))
    return _before_start(status, job)


def beyond_deadline(run: CachedRun) -> bool:
    """Whether its node is ending, or has ended, the pod because of its deadline."""
    return run.pod is not None and run.pod.get("status", {}).get("reason") == _DEADLINE


def _removed(status: Manifest, job_gone: Manifest | None) -> RunStatus:
    if job_gone is not None:
        return _without_pod(job_gone, gone=True)
    return Failed(outcome=Outcome.EVICTED, reason=f"its pod was removed{_why(status)}")


def _without_pod(job: Manifest | None, *, gone: bool) -> RunStatus:
    if gone:
        return Failed(outcome=Outcome.LOST, reason="its Job was deleted, and not by the mediator")
    for condition in (job or {}).get("status", {}).get("conditions") or ():
        if condition["type"] == "Failed" and condition["status"] == "True":
            return _job_failed(condition)
    return Pending(reason="the cluster has made no pod for its Job")


def _job_failed(condition: Manifest) -> Failed:
    reason = condition.get("reason", "")
    if reason == _DEADLINE:
        return Failed(outcome=Outcome.TIMEOUT, reason="ended by the cluster after its deadline")
    said = condition.get("message") or reason
    return Failed(outcome=Outcome.EVICTED, reason=f"its pod was removed ({said})")


def _evicted(status: Manifest) -> Failed | None:
    """A pod that its node, or the cluster, has taken.

    Not one that is beyond its deadline: that is called failed while its script still ends.
    """
    reason = status.get("reason", "")
    if status.get("phase") != "Failed" or not reason or reason == _DEADLINE:
        return None
    said = status.get("message") or reason
    return Failed(outcome=Outcome.EVICTED, reason=f"its pod was evicted ({reason}: {said})")


def _script_state(status: Manifest) -> Manifest:
    for container in status.get("containerStatuses") or ():
        if container["name"] == SCRIPT_CONTAINER:
            state: Manifest = container.get("state") or {}
            return state
    return {}


def _exited(ended: Manifest, *, by_deadline: bool) -> RunStatus:
    reason, said = ended.get("reason", ""), ended.get("message", "")
    if reason in _NEVER_RAN:
        return Failed(outcome=Outcome.NOT_STARTED, reason=f"its container cannot run: {said}")
    return Exited(
        code=ended["exitCode"],
        out_of_memory=reason == "OOMKilled",
        by_deadline=by_deadline,
        message=said,
    )


def _before_start(status: Manifest, job: Manifest | None) -> RunStatus:
    if status.get("reason") == _DEADLINE:
        return Failed(outcome=Outcome.TIMEOUT, reason=f"{BY_DEADLINE}, before it had started")
    for waiting in _waiting_states(status):
        reason, said = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _NO_IMAGE:
            sentence = f"its image cannot be had ({reason}: {said})"
            return Failed(outcome=Outcome.NO_IMAGE, reason=sentence, final=reason == _HOPELESS)
        if reason in _NO_CONTAINER:
            sentence = f"its container cannot be made ({reason}: {said})"
            return Failed(outcome=Outcome.NOT_STARTED, reason=sentence)
    if (said := _unschedulable(status)) is not None:
        return Pending(reason=f"no node takes its pod ({said})", outcome=Outcome.UNSCHEDULABLE)
    failed = _without_pod(job, gone=False)
    return failed if isinstance(failed, Failed) else Pending(reason="its pod has not started")


def _waiting_states(status: Manifest) -> Iterator[Manifest]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            yield (container.get("state") or {}).get("waiting") or {}


def _unschedulable(status: Manifest) -> str | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return str(condition.get("message") or "Unschedulable")
    return None


def _why(status: Manifest) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionTarget":
            return f" ({condition.get('message') or condition.get('reason')})"
    return ""


def _time(text: Any) -> datetime:
    return datetime.fromisoformat(str(text))


def ended_fields(found: RunStatus, run: Run, *, stopped: Stopped | None) -> Manifest:
    """The fields of `Ended` that are not output."""
    if stopped is not None:
        return _stopped(found, run, stopped)
    if isinstance(found, Exited):
        return _exit_report(found)
    if isinstance(found, Failed):
        return {"outcome": found.outcome, "reason": found.reason, "final": found.final}
    if isinstance(found, Pending):
        return {"outcome": found.outcome, "reason": found.reason}
    return {"outcome": Outcome.LOST, "reason": "its pod does not end"}


def _stopped(found: RunStatus, run: Run, stopped: Stopped) -> Manifest:
    code = found.code if isinstance(found, Exited) else None
    if code == _SIGNALLED + signal.SIGKILL:
        stopped = stopped.with_force(run)
    if isinstance(found, Running):
        stopped = stopped.with_force(run)
    return {"outcome": stopped.outcome, "reason": stopped.reason, **_numbers(code)}


def _exit_report(found: Exited) -> Manifest:
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
