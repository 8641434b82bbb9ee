"""One attempt in the cluster: from its Job to its end, or left to the next mediator.

`JobAttempt` tells it from top to bottom: create the Job and its Secret, or find them; look at them
in the informer cache whenever they change or something is due; stop the pod when that is asked for
or its time is over; read its output to the end. Below are its deadlines, the creation of the Job,
and the question why there is no pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from mediator.clock import wait_for_event
from mediator.kube.client import KubernetesClient, KubernetesError, Manifest, with_retry
from mediator.kube.log import ContainerLog
from mediator.model.delivery import Ended, Outcome
from mediator.model.policy import Pod
from mediator.runners.kubernetes.informer import CachedRun, InformerCache
from mediator.runners.kubernetes.manifests import (
    END_NOW,
    SCRIPT_CONTAINER,
    STDERR_CONTAINER,
    deadline,
    job,
    job_name,
    secret,
    stop_patch,
    stopped_before,
)
from mediator.runners.kubernetes.status import (
    BY_DEADLINE,
    Exited,
    Failed,
    Pending,
    Running,
    RunStatus,
    beyond_deadline,
    ended_fields,
    status_of,
)
from mediator.runners.outcome import Stopped
from mediator.runners.output import BoundedOutput
from mediator.runners.port import LeftRunning, Run
from mediator.settings.kubernetes import Kubernetes

T = TypeVar("T")
_OUTPUT = 30.0
"""Seconds in which the rest of the output is read after the script has ended."""
_PATIENCE = 120.0
"""Seconds for the cluster to end a pod, beyond its grace."""
_SILENCE = 5.0
"""Seconds for a node to tell how a script ended that it has ended."""
_NO_POD = 5.0
"""Seconds without a pod after which the cluster is asked why there is none, and again."""
_LOOK = 1.0
"""Seconds between two looks at what no watch tells of."""
_INVALID = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""Codes by which the cluster refuses a Job for what it is."""
_TOO_LATE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})
"""Codes of a change to what has gone or ended."""


class JobAttempt:
    """An attempt from its Job to its end."""

    def __init__(
        self,
        run: Run,
        *,
        client: KubernetesClient,
        cache: InformerCache,
        settings: Kubernetes,
        problem: Callable[[], str],
    ) -> None:
        """`problem` tells why the cluster cannot be heard now; nothing: it can."""
        self._run = run
        self._client = client
        self._cache = cache
        self._settings = settings
        self._problem = problem
        self._name = job_name(run.name)
        self._seen = CachedRun()
        self._stopped: Stopped | None = None
        self._pod_told = False
        self._script_ended = asyncio.Event()
        self._following: list[asyncio.Task[None]] = []
        self._kept = {name: BoundedOutput(run.limits.output) for name in ("stdout", "stderr")}
        self._logs = [
            ContainerLog(client, container, heard=partial(self._hear, stream))
            for container, stream in ((SCRIPT_CONTAINER, "stdout"), (STDERR_CONTAINER, "stderr"))
        ]

    async def end(self, *, stop: asyncio.Event) -> Ended:
        """See it to its end. When this is cancelled the Job goes on.

        Raises `LeftRunning` when the mediator goes down meanwhile.
        """
        with self._cache.run(self._name) as self._seen:
            try:
                return self._ended(await self._outcome(stop))
            finally:
                for task in self._following:
                    task.cancel()
                await asyncio.gather(*self._following, return_exceptions=True)

    async def _outcome(self, stop: asyncio.Event) -> RunStatus:
        """Create the Job, see how it ends, and hear the rest of its output."""
        creating = create_job(self._run, self._client, self._settings)
        created = await self._unless_left(creating, name="make", stop=stop)
        if created is None:
            self._stopped = Stopped.by_request()
            return Pending(reason="")
        if isinstance(created, Failed):
            return created
        self._cache.created(self._name, created.job, at=asyncio.get_running_loop().time())
        self._stopped = stopped_before(created.job)
        found = await self._last_status(stop, created)
        self._script_ended.set()
        if self._following:
            rest = asyncio.wait(self._following, timeout=_OUTPUT)
            await self._unless_left(rest, name="read the output of")
        return found

    async def _last_status(self, stop: asyncio.Event, created: CreatedJob) -> RunStatus:
        """How it stands in the end, or when nothing more is to be expected."""
        times = Deadlines(self._run, self._settings, adopted=created.adopted)
        while True:
            self._seen.changed.clear()
            found = status_of(self._seen)
            if isinstance(found, (Running, Exited)):
                self._follow_logs()
            if isinstance(found, (Exited, Failed)) or self._nothing_runs():
                return found
            if times.silent_long_enough(self._silent()):
                return Failed(outcome=Outcome.TIMEOUT, reason=BY_DEADLINE)
            if isinstance(found, Pending) and times.ask_for_pod(self._seen):
                found = await why_no_pod(self._client, self._name, found)
                if isinstance(found, Failed):
                    return found
            if (given_up := self._given_up(found, times)) is not None:
                return given_up
            await self._stop_if_due(found, times, stop)
            await self._change(stop, times.next(found, stopped=self._stopped is not None))

    def _given_up(self, found: RunStatus, times: Deadlines) -> RunStatus | None:
        """What to make of it when the cluster does not come to an end with it."""
        if times.lost:
            why = self._problem() or "its pod does not end"
            return Failed(outcome=Outcome.LOST, reason=f"given up: {why}; its end is unknown")
        if times.stop_failed:
            return found
        if isinstance(found, Pending) and times.waited_enough and self._stopped is None:
            return found
        return None

    def _silent(self) -> bool:
        """Its node has ended it and its output is over, but perhaps nobody tells how it ended.

        A kubelet before 1.22 may forget to, once it has called the pod failed
        (https://github.com/kubernetes/kubernetes/pull/102344).
        """
        return beyond_deadline(self._seen) and all(log.paused for log in self._logs)

    def _nothing_runs(self) -> bool:
        """It was stopped before there was a pod, and there will be none."""
        job = self._seen.job or {}
        active = job.get("status", {}).get("active")
        idle = job.get("spec", {}).get("parallelism") == 0 and not active
        return self._stopped is not None and self._seen.pod is None and idle

    async def _stop_if_due(self, found: RunStatus, times: Deadlines, stop: asyncio.Event) -> None:
        stopped = self._stopped
        if stopped is None and stop.is_set():
            stopped = Stopped.by_request()
        elif stopped is None and isinstance(found, Running) and times.timed_out(found):
            stopped = Stopped.by_timeout(self._run)
        if stopped is not None:
            await self._stop(stopped, times)

    async def _stop(self, stopped: Stopped, times: Deadlines) -> None:
        """Leave word in the Job, then have the node end the pod, when there is one; each once."""
        pod = self._seen.pod_name
        if self._stopped is None:
            word = stop_patch(stopped, has_pod=bool(pod))
            await self._patch(self._client.jobs(self._name), word)
            self._stopped = stopped
            times.stopping()
        if pod and not self._pod_told:
            await self._patch(self._client.core("pods", pod), END_NOW)
            self._pod_told = True

    async def _patch(self, path: str, patch: Manifest) -> None:
        patching = with_retry(partial(self._client.patch, path, patch))
        try:
            await self._unless_left(patching, name="stop")
        except KubernetesError as error:
            if error.code not in _TOO_LATE:  # of what has gone, the watch tells
                raise

    def _follow_logs(self) -> None:
        if not self._following:
            self._following = [
                asyncio.create_task(
                    log.follow(self._seen.pod_name, self._script_ended),
                    name=f"log of {self._run.name}",
                )
                for log in self._logs
            ]

    def _hear(self, stream: str, data: bytes) -> None:
        self._kept[stream].add(data)
        if self._run.on_output is not None:
            self._run.on_output(stream, data)

    def _ended(self, found: RunStatus) -> Ended:
        fields = ended_fields(found, self._run, stopped=self._stopped)
        if any(log.missing for log in self._logs):
            lost = "its output, or the end of it, was lost with its pod"
            fields["reason"] = f"{fields.get('reason') or 'it ended well'}; {lost}"
        stdout, stderr = (self._kept[stream].output() for stream in ("stdout", "stderr"))
        return Ended(**fields, stdout=stdout, stderr=stderr)

    async def _change(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait until something changes or is asked for, at most so long."""
        stopping = None if self._stopped is not None else stop
        changed = wait_for_event(self._seen.changed, seconds=seconds)
        await self._unless_left(changed, name="see", stop=stopping)

    async def _unless_left(
        self, work: Coroutine[Any, Any, T], *, name: str, stop: asyncio.Event | None = None
    ) -> T | None:
        """What `work` gives; None when `stop` comes first. Raises `LeftRunning`."""
        task = asyncio.create_task(work, name=f"{name} {self._run.name}")
        events = [event for event in (self._run.leave, stop) if event is not None]
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait({task, *waits}, return_when=asyncio.FIRST_COMPLETED)
            if self._run.leave is not None and self._run.leave.is_set():
                raise LeftRunning
            return await task if task.done() else None
        finally:
            for pending in (task, *waits):
                pending.cancel()
            await asyncio.gather(task, *waits, return_exceptions=True)


class Deadlines:
    """Until when to wait for what, in one attempt, by the loop's clock."""

    def __init__(self, run: Run, settings: Kubernetes, *, adopted: bool) -> None:
        """`adopted`: an earlier mediator has begun it."""
        now = self._now()
        self._timeout = run.timeout
        self._adopted = adopted
        self._kill = run.grace + _PATIENCE
        self._start_by = now + settings.start_timeout.total_seconds()
        self._lost_at = now + deadline(run, settings) + run.grace + _PATIENCE
        self._ask_at = now + _NO_POD
        self._end_by: float | None = None
        self._silent_at: float | None = None
        self._dead_by: float | None = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    @property
    def lost(self) -> bool:
        """By now the cluster must have ended it, whether or not that was heard."""
        return self._now() >= self._lost_at

    @property
    def waited_enough(self) -> bool:
        """It has not started for as long as it may wait."""
        return self._now() >= self._start_by

    @property
    def stop_failed(self) -> bool:
        """It was to be ended, and that has not come to pass."""
        return self._dead_by is not None and self._now() >= self._dead_by

    def timed_out(self, found: Running) -> bool:
        """Whether the script has run for its timeout."""
        return self._now() >= self._ends(found)

    def silent_long_enough(self, silent: bool) -> bool:
        """Whether `silent` has been true for as long as it needs to mean anything."""
        if not silent:
            self._silent_at = None
            return False
        self._silent_at = self._silent_at or self._now() + _SILENCE
        return self._now() >= self._silent_at

    def stopping(self) -> None:
        """The cluster has been told to end it."""
        self._dead_by = self._now() + self._kill

    def ask_for_pod(self, seen: CachedRun) -> bool:
        """Whether to ask now why there is no pod."""
        if seen.pod is not None or self._now() < self._ask_at:
            return False
        self._ask_at = self._now() + _NO_POD
        return True

    def next(self, found: RunStatus, *, stopped: bool) -> float:
        """Seconds until something is due."""
        due = [self._lost_at]
        if stopped or self._silent_at is not None:
            due.append(self._now() + _LOOK)  # the logs tell of no change
        if self._dead_by is not None:
            due.append(self._dead_by)
        if not stopped and isinstance(found, Running):
            due.append(self._ends(found))
        if not stopped and isinstance(found, Pending):
            due += [self._start_by, self._ask_at]
        return max(0.01, min(due) - self._now())

    def _ends(self, found: Running) -> float:
        """A run that was found running has run before, by the node's clock."""
        if self._end_by is None:
            ran = (datetime.now(UTC) - found.since).total_seconds() if self._adopted else 0.0
            self._end_by = self._now() + self._timeout - max(0.0, ran)
        return self._end_by


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedJob:
    """The Job of an attempt."""

    job: Manifest
    adopted: bool
    """it was there already"""


async def create_job(
    run: Run, client: KubernetesClient, settings: Kubernetes
) -> CreatedJob | Failed:
    """Have the Job and its Secret made, each once, for as long as the API server is away.

    The Job comes first and owns the Secret, so that whatever is made is removed with it; it is let
    go last, because a pod that must wait for its Secret waits for seconds. A Job of that name is
    the same attempt, begun by a mediator that has gone; how far that came does not matter.
    """
    path = client.jobs(job_name(run.name))
    try:
        secret(run, settings, owner="")  # before anything is made of what cannot be
    except (ValueError, OverflowError) as error:
        return Failed(outcome=Outcome.NOT_STARTED, reason=f"not started: {error}", final=True)
    try:
        new = await _create(client, client.jobs(), job(run, run.pod or Pod(), settings))
        made = await with_retry(partial(client.get, path)) if new is None else new
        belonging = secret(run, settings, owner=made["metadata"]["uid"])
        await _create(client, client.core("secrets"), belonging)
        if stopped_before(made) is None:
            go = {"spec": {"parallelism": 1}}
            made = await with_retry(partial(client.patch, path, go))
    except KubernetesError as error:
        if error.code is None:
            raise
        return _refused(error)
    return CreatedJob(job=made, adopted=new is None)


async def _create(client: KubernetesClient, path: str, body: Manifest) -> Manifest | None:
    """None: there is one of that name."""
    try:
        return await with_retry(partial(client.create, path, body))
    except KubernetesError as error:
        if error.code == HTTPStatus.CONFLICT:
            return None
        raise


def _refused(error: KubernetesError) -> Failed:
    if error.code in _INVALID:
        reason = f"not started: the cluster does not accept its Job: {error}"
        return Failed(outcome=Outcome.NOT_STARTED, reason=reason, final=True)
    return Failed(outcome=Outcome.REFUSED, reason=f"refused by the cluster: {error}")


async def why_no_pod(client: KubernetesClient, job: str, found: Pending) -> Pending | Failed:
    """What the Job controller says when the API server takes no pod from it, else what was found.

    Only the cluster's events tell, such as of a quota.
    """
    selector = f"involvedObject.kind=Job,involvedObject.name={job},reason=FailedCreate"
    try:
        events, _ = await client.list(client.core("events"), fieldSelector=selector)
    except KubernetesError:  # it only explains; the watch tells of a cluster that is away
        return found
    for event in events:
        reason = f"refused by the cluster: {event.get('message', '').rstrip('.')}"
        return Failed(outcome=Outcome.REFUSED, reason=reason)
    return found
