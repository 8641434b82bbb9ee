"""What the Job and the pod of a run say about it: pure, from the objects as the API has them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mediator.model.delivery import Outcome
from mediator.runners.kubernetes.manifests import (
    CANNOT_EXECUTE,
    REFUSED,
    RUN,
    RUN_NAME,
    SCRIPT_CONTAINER,
    STOPPED,
    Manifest,
)
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


# How an attempt in the cluster ended, told from how it stands and what was asked of it.

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
        return _exit_report(found)
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


# What is known of the runs in the cluster that this mediator looks after.

_ENDS = frozenset({"Complete", "Failed"})
"""Conditions of a Job (https://kubernetes.io/docs/concepts/workloads/controllers/job/)."""


@dataclass(kw_only=True, slots=True)
class Sight:
    """The Job and the pod of one run, as they were last seen."""

    job: Manifest | None = None
    job_gone: bool = False
    pod: Manifest | None = None
    """the first one; the cluster makes a second one only where it has taken the first away"""
    pod_gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pod_name(self) -> str:
        """The name of the pod; empty: there is none yet."""
        return "" if self.pod is None else str(self.pod["metadata"]["name"])


class Sights:
    """All Jobs and pods of mediators, and closer the runs that this one looks after."""

    def __init__(self) -> None:
        self._jobs: dict[str, Manifest] = {}
        self._pods: dict[str, Manifest] = {}
        self._sights: dict[str, Sight] = {}
        self._since: dict[str, int] = {}
        self._lists = 0

    @contextmanager
    def of(self, name: str) -> Iterator[Sight]:
        """Look after the run whose Job has that name, which may be there already."""
        sight = self._sights[name] = Sight(job=self._jobs.get(name))
        for pod in sorted(self._pods.values(), key=_age):
            self._tell(pod)
        try:
            yield sight
        finally:
            del self._sights[name]
            self._since.pop(name, None)

    def ended(self) -> set[str]:
        """The runs whose Jobs have ended, without those that this mediator looks after."""
        return {
            job["metadata"].get("annotations", {}).get(RUN_NAME, "")
            for name, job in self._jobs.items()
            if name not in self._sights and _has_ended(job)
        }

    def made(self, name: str, job: Manifest) -> None:
        """The Job is there: a list that begins from now on and lacks it means that it has gone."""
        self._since[name] = self._lists
        self._sights[name].job = self._sights[name].job or job

    def listing(self) -> int:
        """A list is being asked for; returns its number, for `jobs`."""
        self._lists += 1
        return self._lists

    def jobs(self, found: Iterable[Manifest], *, number: int) -> None:
        """A whole list of Jobs."""
        now = {job["metadata"]["name"]: job for job in found}
        for name in self._jobs.keys() - now.keys():
            self.job(self._jobs[name], gone=True)
        for job in now.values():
            self.job(job)
        for name, since in list(self._since.items()):
            if name not in now and since < number:
                self._sights[name].job_gone = True
                self._sights[name].changed.set()

    def pods(self, found: Iterable[Manifest], *, number: int) -> None:
        """A whole list of pods."""
        del number  # a pod is known only from lists and watches, all of them before this list
        now = {pod["metadata"]["uid"]: pod for pod in found}
        for uid in self._pods.keys() - now.keys():
            self.pod(self._pods[uid], gone=True)
        for pod in now.values():
            self.pod(pod)

    def job(self, item: Manifest, *, gone: bool = False) -> None:
        """A Job has changed."""
        name = item["metadata"]["name"]
        _keep(self._jobs, name, item, gone=gone)
        sight = self._sights.get(name)
        if sight is not None:
            sight.job, sight.job_gone = item, gone
            sight.changed.set()

    def pod(self, item: Manifest, *, gone: bool = False) -> None:
        """A pod has changed."""
        _keep(self._pods, item["metadata"]["uid"], item, gone=gone)
        self._tell(item, gone=gone)

    def _tell(self, pod: Manifest, *, gone: bool = False) -> None:
        sight = self._sights.get(pod["metadata"].get("labels", {}).get(RUN, ""))
        if sight is None:
            return
        if sight.pod is None or sight.pod["metadata"]["uid"] == pod["metadata"]["uid"]:
            sight.pod, sight.pod_gone = pod, gone
            sight.changed.set()


def _has_ended(job: Manifest) -> bool:
    conditions = job.get("status", {}).get("conditions") or ()
    return any(one["type"] in _ENDS and one["status"] == "True" for one in conditions)


def _keep(known: dict[str, Manifest], key: str, item: Manifest, *, gone: bool) -> None:
    if gone:
        known.pop(key, None)
    else:
        known[key] = item


def _age(pod: Manifest) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))
