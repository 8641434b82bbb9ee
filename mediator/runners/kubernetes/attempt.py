"""One attempt in the cluster: seen from its Job to its end, or left to the next mediator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from mediator.clock import wait_for_event
from mediator.kube.client import describe
from mediator.model.delivery import Ended, Outcome
from mediator.model.policy import Pod
from mediator.runners.kubernetes.calls import Calls, passes, persistently, status_of
from mediator.runners.kubernetes.manifests import (
    SCRIPT_CONTAINER,
    STDERR_CONTAINER,
    Manifest,
    deadline,
    job,
    job_name,
    secret,
)
from mediator.runners.kubernetes.status import (
    BY_DEADLINE,
    END_NOW,
    Exited,
    Failed,
    Running,
    Sight,
    Sights,
    Situation,
    Waiting,
    beyond_deadline,
    ended_fields,
    situation,
    stop_patch,
    stopped_before,
)
from mediator.runners.outcome import Stopped
from mediator.runners.output import BoundedOutput
from mediator.runners.port import LeftRunning, Run
from mediator.settings.schema import Kubernetes

T = TypeVar("T")
_TOO_LATE = frozenset({404, 409, 422})
_OUTPUT = 30.0
"""Seconds in which the rest of the output is read after the script has ended."""


class Attempt:
    """An attempt from its Job to its end."""

    def __init__(
        self,
        run: Run,
        *,
        calls: Calls,
        sights: Sights,
        settings: Kubernetes,
        problem: Callable[[], str],
    ) -> None:
        """`problem` tells why the cluster cannot be heard now; nothing: it can."""
        self._run = run
        self._calls = calls
        self._sights = sights
        self._settings = settings
        self._problem = problem
        self._name = job_name(run.name)
        self._sight = Sight()
        self._stopped: Stopped | None = None
        self._pod_told = False
        self._script_ended = asyncio.Event()
        self._following: list[asyncio.Task[None]] = []
        limit, heard = run.limits.output, self._hear
        self._stdout = Followed(
            calls, SCRIPT_CONTAINER, limit=limit, heard=partial(heard, "stdout")
        )
        self._stderr = Followed(
            calls, STDERR_CONTAINER, limit=limit, heard=partial(heard, "stderr")
        )

    async def end(self, *, stop: asyncio.Event) -> Ended:
        """See it to its end. When this is cancelled the Job goes on.

        Raises `LeftRunning` when the mediator goes down meanwhile.
        """
        with self._sights.of(self._name) as self._sight:
            try:
                return await self._end(stop)
            finally:
                for task in self._following:
                    task.cancel()
                await asyncio.gather(*self._following, return_exceptions=True)

    async def _end(self, stop: asyncio.Event) -> Ended:
        making = make(self._run, self._calls, self._settings)
        made = await self._unless_left(making, name="make", stop=stop)
        if made is None:
            self._stopped = Stopped.by_request()
            return self._told(Waiting(reason=""))
        if isinstance(made, Failed):
            return self._told(made)
        self._sights.made(self._name, made.job)
        self._stopped = stopped_before(made.job)
        found = await self._outcome(stop, made)
        self._script_ended.set()
        if self._following:
            await self._unless_left(
                asyncio.wait(self._following, timeout=_OUTPUT), name="read the output of"
            )
        return self._told(found)

    async def _outcome(self, stop: asyncio.Event, made: Made) -> Situation:
        """How it stands in the end, or when nothing more is to be expected."""
        sight = self._sight
        times = Times(self._run, self._settings, adopted=made.adopted)
        while True:
            sight.changed.clear()
            found = situation(sight)
            if isinstance(found, (Running, Exited)):
                self._follow(sight.pod_name)
            if isinstance(found, (Exited, Failed)) or self._nothing_runs():
                return found
            if times.silent_long_enough(self._silent()):
                return Failed(outcome=Outcome.TIMEOUT, reason=BY_DEADLINE)
            if isinstance(found, Waiting) and times.wonder(sight):
                found = await refusal(self._calls, self._name, found)
                if isinstance(found, Failed):
                    return found
            if (over := self._over(found, times)) is not None:
                return over
            await self._stop_if_due(found, times, stop)
            await self._news(stop, times.next(found, stopped=self._stopped is not None))

    def _over(self, found: Situation, times: Times) -> Situation | None:
        """What to make of it when the cluster does not come to an end with it."""
        if times.lost:
            why = self._problem() or "its pod does not end"
            return Failed(outcome=Outcome.LOST, reason=f"given up: {why}; its end is unknown")
        if times.stop_failed:
            return found
        if isinstance(found, Waiting) and times.waited_enough and self._stopped is None:
            return found
        return None

    def _silent(self) -> bool:
        """Its node has ended it and its output is over, but perhaps nobody tells how it ended.

        A kubelet before 1.22 may forget to, once it has called the pod failed
        (https://github.com/kubernetes/kubernetes/pull/102344).
        """
        return beyond_deadline(self._sight) and self._stdout.paused and self._stderr.paused

    def _nothing_runs(self) -> bool:
        """It was stopped before there was a pod, and there will be none."""
        job = self._sight.job or {}
        active = job.get("status", {}).get("active")
        idle = job.get("spec", {}).get("parallelism") == 0 and not active
        return self._stopped is not None and self._sight.pod is None and idle

    async def _stop_if_due(self, found: Situation, times: Times, stop: asyncio.Event) -> None:
        stopped = self._stopped
        if stopped is None and stop.is_set():
            stopped = Stopped.by_request()
        elif stopped is None and isinstance(found, Running) and times.timed_out(found):
            stopped = Stopped.by_timeout(self._run)
        if stopped is not None:
            await self._stop(stopped, times)

    async def _stop(self, stopped: Stopped, times: Times) -> None:
        """Leave word in the Job, then have the node end the pod, when there is one; each once."""
        pod = self._sight.pod_name
        if self._stopped is None:
            await self._change(self._calls.jobs(self._name), stop_patch(stopped, has_pod=bool(pod)))
            self._stopped = stopped
            times.stopping()
        if pod and not self._pod_told:
            await self._change(self._calls.of_core("pods", pod), END_NOW)
            self._pod_told = True

    async def _change(self, path: str, patch: Manifest) -> None:
        try:
            await self._unless_left(
                persistently(partial(self._calls.patch, path, patch)), name="stop"
            )
        except Exception as error:
            if status_of(error) not in _TOO_LATE:  # of what has gone, the watch tells
                raise

    def _follow(self, pod: str) -> None:
        if not self._following:
            self._following = [
                asyncio.create_task(
                    stream.follow(pod, self._script_ended), name=f"log of {self._run.name}"
                )
                for stream in (self._stdout, self._stderr)
            ]

    def _hear(self, stream: str, data: bytes) -> None:
        if self._run.on_output is not None:
            self._run.on_output(stream, data)

    def _told(self, found: Situation) -> Ended:
        fields = ended_fields(found, self._run, stopped=self._stopped)
        if self._stdout.missing or self._stderr.missing:
            lost = "its output, or the end of it, was lost with its pod"
            fields["reason"] = f"{fields.get('reason') or 'it ended well'}; {lost}"
        return Ended(**fields, stdout=self._stdout.kept.output(), stderr=self._stderr.kept.output())

    async def _news(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait until something is seen or asked for, at most so long."""
        stopping = None if self._stopped is not None else stop
        await self._unless_left(
            wait_for_event(self._sight.changed, seconds=seconds), name="see", stop=stopping
        )

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


# Until when to wait for what, in one attempt.

_PATIENCE = 120.0
"""Seconds for the cluster to end a pod, beyond its grace."""
_SILENCE = 5.0
"""Seconds for a node to tell how a script ended that it has ended."""
_WONDER = 5.0
"""Seconds without a pod after which the cluster is asked why there is none, and again."""


class Times:
    """The times of one attempt, by the loop's clock."""

    def __init__(self, run: Run, settings: Kubernetes, *, adopted: bool) -> None:
        now = self._now()
        self._timeout = run.timeout
        self._adopted = adopted
        self._kill = run.grace + _PATIENCE
        self._start_by = now + settings.start_timeout.total_seconds()
        self._lost_at = now + deadline(run, settings) + run.grace + _PATIENCE
        self._wonder_at = now + _WONDER
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

    def wonder(self, sight: Sight) -> bool:
        """Whether to ask now why there is no pod."""
        if sight.pod is not None or self._now() < self._wonder_at:
            return False
        self._wonder_at = self._now() + _WONDER
        return True

    def next(self, found: Situation, *, stopped: bool) -> float:
        """Seconds until something is due."""
        due = [self._lost_at]
        if stopped or self._silent_at is not None:
            due.append(self._now() + 1.0)  # the logs tell of no change
        if self._dead_by is not None:
            due.append(self._dead_by)
        if not stopped and isinstance(found, Running):
            due.append(self._ends(found))
        if not stopped and isinstance(found, Waiting):
            due += [self._start_by, self._wonder_at]
        return max(0.01, min(due) - self._now())

    def _ends(self, found: Running) -> float:
        """A run that was found running has run before, by the node's clock."""
        if self._end_by is None:
            ran = (datetime.now(UTC) - found.since).total_seconds() if self._adopted else 0.0
            self._end_by = self._now() + self._timeout - max(0.0, ran)
        return self._end_by


# Makes the Job and the Secret of an attempt, or finds that an earlier mediator has made them.

_EXISTS = 409
_INVALID = frozenset({400, 413, 422})


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """The Job of an attempt."""

    job: Manifest
    adopted: bool
    """it was there already"""


async def make(run: Run, calls: Calls, settings: Kubernetes) -> Made | Failed:
    """Have the Job and its Secret made, each once, for as long as the API server is away.

    The Job comes first and owns the Secret, so that whatever is made is removed with it; it is let
    go last, because a pod that must wait for its Secret waits for seconds. A Job of that name is
    the same attempt, begun by a mediator that has gone; how far that came does not matter.
    """
    name = job_name(run.name)
    try:
        secret(run, settings, owner="")  # before anything is made of what cannot be
    except (ValueError, OverflowError) as error:
        return Failed(outcome=Outcome.NOT_STARTED, reason=f"not started: {error}", final=True)
    try:
        wanted = job(run, run.pod or Pod(), settings)
        new = await _create(calls, calls.jobs(), wanted)
        made = await persistently(partial(calls.get, calls.jobs(name))) if new is None else new
        belonging = secret(run, settings, owner=made["metadata"]["uid"])
        await _create(calls, calls.of_core("secrets"), belonging)
        if stopped_before(made) is None:
            go = {"spec": {"parallelism": 1}}
            made = await persistently(partial(calls.patch, calls.jobs(name), go))
    except Exception as error:
        if passes(error) or status_of(error) is None:
            raise
        return _refused(error)
    return Made(job=made, adopted=new is None)


async def _create(calls: Calls, path: str, body: Manifest) -> Manifest | None:
    """None: there is one of that name."""
    try:
        return await persistently(partial(calls.create, path, body))
    except Exception as error:
        if status_of(error) == _EXISTS:
            return None
        raise


def _refused(error: Exception) -> Failed:
    if status_of(error) in _INVALID:
        reason = f"not started: the cluster does not accept its Job: {describe(error)}"
        return Failed(outcome=Outcome.NOT_STARTED, reason=reason, final=True)
    return Failed(outcome=Outcome.REFUSED, reason=f"refused by the cluster: {describe(error)}")


# Asks the cluster why it has made no pod: only its events tell, such as of a quota.

_REFUSED = "FailedCreate"
"""What the Job controller says when the API server takes no pod from it."""


async def refusal(calls: Calls, job: str, found: Waiting) -> Waiting | Failed:
    """The refusal that the cluster tells of, else what was found."""
    selector = f"involvedObject.kind=Job,involvedObject.name={job},reason={_REFUSED}"
    try:
        events = await calls.get(calls.of_core("events"), fieldSelector=selector)
    except Exception:  # noqa: BLE001 - it only explains; the watch tells of a cluster that is away
        return found
    for event in events["items"]:
        reason = f"refused by the cluster: {event.get('message', '').rstrip('.')}"
        return Failed(outcome=Outcome.REFUSED, reason=reason)
    return found


# Follows the log of one container, through every break of the connection, byte for byte.

_NOT_YET = 400
"""What a container answers that is still being made."""
_SETTLED = 10.0
"""Seconds in which the API tells that a container has ended, after its log has."""


class Followed:
    """What one container writes."""

    def __init__(
        self, calls: Calls, container: str, *, limit: int, heard: Callable[[bytes], None]
    ) -> None:
        """`limit`: bytes that are kept; `heard` is told of every byte once."""
        self.kept = BoundedOutput(limit)
        self.missing = False
        """whether the log went before it was read to its end"""
        self.paused = False
        """whether the log has been read as far as it goes now, and the server said that it ends"""
        self._calls = calls
        self._container = container
        self._heard = heard
        self._read = 0

    async def follow(self, pod: str, ended: asyncio.Event) -> None:
        """Read to the end; `ended` is set when the container is known to have ended."""
        failures = 0
        while True:
            try:
                await self._pass(pod)
                self.paused = True
                failures = 0
                if await wait_for_event(ended, seconds=_SETTLED):
                    return
            except Exception as error:  # noqa: BLE001 - output is worth less than its attempt
                if status_of(error) == _NOT_YET and not ended.is_set():
                    failures = min(failures, 2)
                elif not passes(error):
                    self.missing = True
                    return
                failures += 1
                await asyncio.sleep(min(10.0, 0.1 * 2 ** min(failures, 7)))

    async def _pass(self, pod: str) -> None:
        response = await self._calls.log(pod, self._container)
        place = 0
        try:
            async for chunk in response.content.iter_any():
                place += len(chunk)
                self._take(chunk, place)
        finally:
            response.close()

    def _take(self, chunk: bytes, place: int) -> None:
        """`place`: where in the log the chunk ends."""
        new = min(len(chunk), place - self._read)
        if new > 0:
            self._read = place
            self.kept.add(chunk[-new:])
            self._heard(chunk[-new:])
