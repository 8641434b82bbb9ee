"""Keeps the shim in its pods: a task for each pod that something can be run in.

A pod's task ends with its container, and a new one begins with the next, also in the same pod.
Between the two nothing has to be remembered: what is there is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from tenacity import AsyncRetrying, retry_if_result, wait_exponential

from mediator.clock import Clock
from mediator.errors import MediatorError
from mediator.keeper.announcing import Announcer
from mediator.keeper.following import Following, Pods
from mediator.keeper.keeping import Wanted
from mediator.keeper.pods import Pod, Selection
from mediator.keeper.rounds import Report, one_pod
from mediator.metrics.keeper import DRIFTED, KEPT, STATES, UNREACHABLE
from mediator.metrics.keeper import Keeper as Counted

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

_log = structlog.get_logger(__name__)
_FIRST, _LONGEST = 0.5, 30.0
"""Seconds between two tries in a pod that did not let itself be put right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watching:
    """What the watch needs to know."""

    selection: Selection
    wanted: Callable[[], Wanted]
    """what belongs into the pods now; may read files, raises `MediatorError`"""
    check_every: float
    """seconds between two looks at a pod in which all is well"""


@dataclass(kw_only=True)
class Watch:
    """Watches until it is cancelled."""

    api: ApiClient
    settings: Watching
    counted: Counted
    clock: Clock
    _tasks: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    _states: dict[tuple[str, str], str] = field(default_factory=dict)
    _said: dict[tuple[str, str], str] = field(default_factory=dict)
    """what was last logged of a pod, so that the same is not said every time"""

    _any_pods: bool = True
    _wrong: set[str] = field(default_factory=set)
    """uids of pods without the container that the settings name"""

    def __post_init__(self) -> None:
        """Nothing is asked yet."""
        self._announcer = Announcer(self.api)
        self._following = Following(self.api, self.settings.selection, self._heard)
        self.counted.watching.set_function(lambda: self._following.connected)
        for state in STATES:
            self.counted.pods.labels(state).set_function(self._count(state))

    async def run(self) -> None:
        """For ever. At the end nothing runs any more."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._following.run()
        finally:
            self._tasks.clear()

    def _count(self, state: str) -> Callable[[], float]:
        return lambda: sum(one == state for one in self._states.values())

    def _heard(self, pods: Pods) -> None:
        self._tell_of_mistakes(pods)
        lives = {pod.life: pod for pod in pods.values() if not pod.why_not}
        for life in set(self._tasks) - set(lives):
            self._tasks.pop(life).cancel()
            self._states.pop(life, None)
            self._said.pop(life, None)
        for life in set(lives) - set(self._tasks):
            pod = lives[life]
            self._tasks[life] = self._group.create_task(
                self._keep(pod), name=f"keep the shim in {pod.name}"
            )

    def _tell_of_mistakes(self, pods: Pods) -> None:
        """What waiting does not help against: nothing matches, or the container is not there."""
        selection = self.settings.selection
        if not pods and self._any_pods:
            _log.warning(
                "no pod matches", namespace=selection.namespace, selector=selection.selector
            )
        self._any_pods = bool(pods)
        wrong = {uid for uid, pod in pods.items() if pod.lacks_container}
        for uid in wrong - self._wrong:
            _log.warning("shim not kept", pod=pods[uid].name, reason=pods[uid].why_not)
        self._wrong = wrong

    async def _keep(self, pod: Pod) -> None:
        """For as long as the container lives."""
        _log.info("pod can be looked at", pod=pod.name, container=pod.place.container)
        seen, delayed = self.clock.steady(), True
        again = AsyncRetrying(
            wait=wait_exponential(multiplier=_FIRST, max=_LONGEST),
            retry=retry_if_result(lambda report: _state(report) != KEPT),
        )
        while True:
            await again(self._look, pod)
            if delayed:
                self.counted.repair_delay.observe(self.clock.steady() - seen)
            delayed = False
            await asyncio.sleep(self.settings.check_every)

    async def _look(self, pod: Pod) -> Report:
        try:
            wanted = await asyncio.to_thread(self.settings.wanted)
        except MediatorError as error:
            report = Report(pod=pod, problem=str(error))
        else:
            report = await one_pod(self.api, pod, wanted, write=True)
        await self._account(report)
        return report

    async def _account(self, report: Report) -> None:
        """Count it, and tell what is new."""
        pod, state, before = report.pod, _state(report), self._said.get(report.pod.life, "")
        self._states[pod.life] = state
        self.counted.checks.labels(_result(report)).inc()
        if report.written:
            files = ", ".join(one.file.name for one in report.differences)
            for one in report.differences:
                self.counted.written.labels(one.drift).inc()
            _log.info("shim put back", pod=pod.name, files=files)
            await self._announcer.tell(pod, reason="ShimPutBack", message=f"Put back: {files}.")
        trouble = _trouble(report)
        self._said[pod.life] = trouble or KEPT
        if trouble and trouble != before:
            _log.warning("shim not kept", pod=pod.name, reason=trouble)
            await self._announcer.tell(
                pod, reason="ShimNotKept", message=f"{trouble}.", warning=True
            )
        elif not trouble and before != KEPT:
            _log.info("shim kept", pod=pod.name)


def _trouble(report: Report) -> str:
    tried = report.self_test
    if report.problem or tried is None or tried.ok:
        return report.problem
    said = "; ".join(tried.lines[-2:])
    return f"the shim does not reach the mediator from there: {said}"


def _state(report: Report) -> str:
    if report.drifted:
        return DRIFTED
    return UNREACHABLE if _trouble(report) else KEPT


def _result(report: Report) -> str:
    if _trouble(report):
        return "failed"
    return "repaired" if report.written else "ok"
