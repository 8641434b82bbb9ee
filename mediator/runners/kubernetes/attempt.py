"""One attempt in the cluster: seen from its Job to its end, or left to the next mediator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from mediator.model.attempts import Ended, Outcome
from mediator.runners.endings import Stopped
from mediator.runners.kubernetes.calls import Calls, persistently, status_of
from mediator.runners.kubernetes.ending import END_NOW, ended_fields, stop_patch, stopped_before
from mediator.runners.kubernetes.events import refusal
from mediator.runners.kubernetes.following import Followed
from mediator.runners.kubernetes.making import Made, make
from mediator.runners.kubernetes.merging import Manifest
from mediator.runners.kubernetes.naming import SCRIPT_CONTAINER, STDERR_CONTAINER, job_name
from mediator.runners.kubernetes.sights import Sight, Sights
from mediator.runners.kubernetes.situation import (
    BY_DEADLINE,
    Exited,
    Failed,
    Running,
    Situation,
    Waiting,
    beyond_deadline,
    situation,
)
from mediator.runners.kubernetes.times import Times
from mediator.runners.port import LeftRunning, Run
from mediator.settings.kubernetes import Kubernetes

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
            _within(seconds, self._sight.changed.wait()), name="see", stop=stopping
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


async def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return
