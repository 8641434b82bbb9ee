"""Keeps the shim in its pods: a task for each pod that something can be run in.

A pod's task ends with its container, and a new one begins with the next, also in the same pod.
Between the two nothing has to be remembered: what is there is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

import structlog
from tenacity import AsyncRetrying, retry_if_result, wait_exponential

from mediator.clock import Clock
from mediator.errors import MediatorError
from mediator.keeper.pods import SecureChangePod, Selection, pod_of
from mediator.keeper.sync import DesiredFiles, Report, one_pod
from mediator.kube.client import KubernetesClient, KubernetesError, Manifest
from mediator.kube.watch import Reflector
from mediator.metrics.keeper import DRIFTED, KEPT, STATES, UNREACHABLE, KeeperMetrics

COMPONENT = "mediator-shim-keeper"
"""Who writes the Events."""
_log = structlog.get_logger(__name__)
_FIRST, _LONGEST = 0.5, 30.0
"""Seconds between two tries in a pod that did not let itself be put right."""
_LONGEST_MESSAGE = 1024
"""Characters of an Event's message; an API server refuses more."""


class ShimWatch:
    """Watches the pods and keeps the shim in them, until it is cancelled."""

    def __init__(
        self,
        client: KubernetesClient,
        selection: Selection,
        *,
        desired: Callable[[], DesiredFiles],
        check_every: float,
        metrics: KeeperMetrics,
        clock: Clock,
    ) -> None:
        """`desired`: what belongs into the pods now; may read files, raises `MediatorError`.

        `check_every`: seconds between two looks at a pod in which all is well.
        """
        self._client = client
        self._selection = selection
        self._desired = desired
        self._check_every = check_every
        self._metrics = metrics
        self._clock = clock
        self._recorder = EventRecorder(client)
        self._pods: dict[str, SecureChangePod] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._states: dict[tuple[str, str], str] = {}
        self._said: dict[tuple[str, str], str] = {}
        """what was last logged of a pod, so that the same is not said every time"""
        self._any_pods = True
        self._wrong: set[str] = set()
        """uids of pods without the container that the settings name"""

    async def run(self) -> None:
        """For ever. At the end nothing runs any more."""
        reflector = Reflector(
            self._client,
            self._client.core("pods"),
            selector=self._selection.selector,
            on_list=self._listed,
            on_change=self._changed,
        )
        self._metrics.watching.set_function(lambda: reflector.connected)
        for state in STATES:
            self._metrics.pods.labels(state).set_function(self._count(state))
        try:
            async with asyncio.TaskGroup() as self._group:
                await reflector.run()
        finally:
            self._tasks.clear()

    def _listed(self, items: list[Manifest], *, asked_at: float) -> None:
        del asked_at
        pods = (pod_of(item, self._selection) for item in items)
        self._pods = {pod.uid: pod for pod in pods}
        self._follow_pods()

    def _changed(self, item: Manifest, *, deleted: bool) -> None:
        pod = pod_of(item, self._selection)
        if deleted:
            self._pods.pop(pod.uid, None)
        else:
            self._pods[pod.uid] = pod
        self._follow_pods()

    def _follow_pods(self) -> None:
        """A task for each container that lives, and none for another."""
        self._tell_of_mistakes()
        lives = {pod.life: pod for pod in self._pods.values() if not pod.why_not}
        for life in set(self._tasks) - set(lives):
            self._tasks.pop(life).cancel()
            self._states.pop(life, None)
            self._said.pop(life, None)
        for life in set(lives) - set(self._tasks):
            pod = lives[life]
            self._tasks[life] = self._group.create_task(
                self._keep(pod), name=f"keep the shim in {pod.name}"
            )

    def _tell_of_mistakes(self) -> None:
        """What waiting does not help against: nothing matches, or the container is not there."""
        if not self._pods and self._any_pods:
            _log.warning(
                "no pod matches",
                namespace=self._client.namespace,
                selector=self._selection.selector,
            )
        self._any_pods = bool(self._pods)
        wrong = {uid for uid, pod in self._pods.items() if pod.lacks_container}
        for uid in wrong - self._wrong:
            pod = self._pods[uid]
            _log.warning("shim not kept", pod=pod.name, reason=pod.why_not)
        self._wrong = wrong

    def _count(self, state: str) -> Callable[[], float]:
        return lambda: sum(one == state for one in self._states.values())

    async def _keep(self, pod: SecureChangePod) -> None:
        """For as long as the container lives."""
        _log.info("pod can be looked at", pod=pod.name, container=pod.place.container)
        seen, delayed = self._clock.steady(), True
        again = AsyncRetrying(
            wait=wait_exponential(multiplier=_FIRST, max=_LONGEST),
            retry=retry_if_result(lambda report: _state(report) != KEPT),
        )
        while True:
            await again(self._look, pod)
            if delayed:
                self._metrics.repair_delay.observe(self._clock.steady() - seen)
            delayed = False
            await asyncio.sleep(self._check_every)

    async def _look(self, pod: SecureChangePod) -> Report:
        try:
            desired = await asyncio.to_thread(self._desired)
        except MediatorError as error:
            report = Report(pod=pod, problem=str(error))
        else:
            report = await one_pod(self._client, pod, desired, write=True)
        await self._account(report)
        return report

    async def _account(self, report: Report) -> None:
        """Count it, and tell what is new."""
        pod, state, before = report.pod, _state(report), self._said.get(report.pod.life, "")
        self._states[pod.life] = state
        self._metrics.checks.labels(_result(report)).inc()
        if report.written:
            files = ", ".join(one.file.name for one in report.differences)
            for one in report.differences:
                self._metrics.written.labels(one.drift).inc()
            _log.info("shim put back", pod=pod.name, files=files)
            await self._recorder.tell(pod, reason="ShimPutBack", message=f"Put back: {files}.")
        trouble = _trouble(report)
        self._said[pod.life] = trouble or KEPT
        if trouble and trouble != before:
            _log.warning("shim not kept", pod=pod.name, reason=trouble)
            await self._recorder.tell(
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


class EventRecorder:
    """Writes Kubernetes Events on pods, until it is told that it may not.

    They are what `kubectl describe pod` shows of the keeper's work.
    """

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._allowed = True

    async def tell(
        self, pod: SecureChangePod, *, reason: str, message: str, warning: bool = False
    ) -> None:
        """Write one; what stands in the way is logged, and stops nothing."""
        if not self._allowed:
            return
        body = event(
            pod,
            namespace=self._client.namespace,
            reason=reason,
            message=message,
            kind="Warning" if warning else "Normal",
        )
        try:
            await self._client.create(self._client.core("events"), body)
        except KubernetesError as error:
            self._allowed = error.code != HTTPStatus.FORBIDDEN
            _log.warning("event not written", pod=pod.name, reason=str(error))


def event(
    pod: SecureChangePod, *, namespace: str, reason: str, message: str, kind: str
) -> Manifest:
    """As the API server takes it; `kind`: Normal or Warning."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{pod.name[:200]}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod.name,
            "namespace": namespace,
            "uid": pod.uid,
        },
        "reason": reason,
        "message": message[:_LONGEST_MESSAGE],
        "type": kind,
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
