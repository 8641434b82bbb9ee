"""What the Job and the pod of a run say about it: pure, from the objects as the API has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mediator.model.attempts import Outcome
from mediator.runners.kubernetes.merging import Manifest
from mediator.runners.kubernetes.naming import SCRIPT_CONTAINER
from mediator.runners.kubernetes.sights import Sight

_NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_NO_CONTAINER = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
_HOPELESS = "InvalidImageName"
_DEADLINE = "DeadlineExceeded"


BY_DEADLINE = "ended by its node after the deadline of its pod"


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
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


Situation = Waiting | Running | Exited | Failed


def situation(sight: Sight) -> Situation:
    """How a run stands."""
    pod, job = sight.pod, sight.job
    if pod is None:
        return _without_pod(job, gone=sight.job_gone)
    status = pod.get("status", {})
    if (failed := _taken(status)) is not None:
        return failed
    state = _script(status)
    if (ended := state.get("terminated")) is not None:
        return _exited(ended, by_deadline=status.get("reason") == _DEADLINE)
    if sight.pod_gone:
        return _removed(status, job if sight.job_gone else None)
    if (running := state.get("running")) is not None:
        return Running(since=_time(running["startedAt"]))
    return _not_yet(status, job)


def beyond_deadline(sight: Sight) -> bool:
    """Whether its node is ending, or has ended, the pod because of its deadline."""
    return sight.pod is not None and sight.pod.get("status", {}).get("reason") == _DEADLINE


def _removed(status: Manifest, job_gone: Manifest | None) -> Situation:
    if job_gone is not None:
        return _without_pod(job_gone, gone=True)
    return Failed(outcome=Outcome.EVICTED, reason=f"its pod was removed{_why(status)}")


def _without_pod(job: Manifest | None, *, gone: bool) -> Situation:
    if gone:
        return Failed(outcome=Outcome.LOST, reason="its Job was deleted, and not by the mediator")
    for condition in (job or {}).get("status", {}).get("conditions") or ():
        if condition["type"] == "Failed" and condition["status"] == "True":
            return _job_failed(condition)
    return Waiting(reason="the cluster has made no pod for its Job")


def _job_failed(condition: Manifest) -> Failed:
    reason = condition.get("reason", "")
    if reason == _DEADLINE:
        return Failed(outcome=Outcome.TIMEOUT, reason="ended by the cluster after its deadline")
    said = condition.get("message") or reason
    return Failed(outcome=Outcome.EVICTED, reason=f"its pod was removed ({said})")


def _taken(status: Manifest) -> Failed | None:
    """A pod that its node, or the cluster, has taken.

    Not one that is beyond its deadline: that is called failed while its script still ends.
    """
    reason = status.get("reason", "")
    if status.get("phase") != "Failed" or not reason or reason == _DEADLINE:
        return None
    said = status.get("message") or reason
    return Failed(outcome=Outcome.EVICTED, reason=f"its pod was evicted ({reason}: {said})")


def _script(status: Manifest) -> Manifest:
    for container in status.get("containerStatuses") or ():
        if container["name"] == SCRIPT_CONTAINER:
            state: Manifest = container.get("state") or {}
            return state
    return {}


def _exited(ended: Manifest, *, by_deadline: bool) -> Situation:
    reason, said = ended.get("reason", ""), ended.get("message", "")
    if reason in _NEVER_RAN:
        return Failed(outcome=Outcome.NOT_STARTED, reason=f"its container cannot run: {said}")
    return Exited(
        code=ended["exitCode"],
        out_of_memory=reason == "OOMKilled",
        by_deadline=by_deadline,
        message=said,
    )


def _not_yet(status: Manifest, job: Manifest | None) -> Situation:
    if status.get("reason") == _DEADLINE:
        return Failed(outcome=Outcome.TIMEOUT, reason=f"{BY_DEADLINE}, before it had started")
    for waiting in _waits(status):
        reason, said = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _NO_IMAGE:
            sentence = f"its image cannot be had ({reason}: {said})"
            return Failed(outcome=Outcome.NO_IMAGE, reason=sentence, final=reason == _HOPELESS)
        if reason in _NO_CONTAINER:
            sentence = f"its container cannot be made ({reason}: {said})"
            return Failed(outcome=Outcome.NOT_STARTED, reason=sentence)
    if (said := _unschedulable(status)) is not None:
        return Waiting(reason=f"no node takes its pod ({said})", outcome=Outcome.UNSCHEDULABLE)
    failed = _without_pod(job, gone=False)
    return failed if isinstance(failed, Failed) else Waiting(reason="its pod has not started")


def _waits(status: Manifest) -> Iterator[Manifest]:
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
