"""Keeps the shim in its pods: a task for each pod that something can be run in.

A pod's task ends with its container, and a new one begins with the next, also in the same pod.
Between the two nothing has to be remembered: what is there is looked at.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry,
    retry_if_exception_type,
    retry_if_result,
    wait_exponential,
    wait_random_exponential,
)

from mediator.clock import Clock
from mediator.errors import MediatorError
from mediator.keeper.pods import Expired, Pod, Selection, asking, find, pod_of
from mediator.keeper.protocol import PodError
from mediator.keeper.sync import Report, Wanted, one_pod
from mediator.kube.client import describe, library
from mediator.metrics.keeper import DRIFTED, KEPT, STATES, UNREACHABLE
from mediator.metrics.keeper import KeeperMetrics as Counted

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


# The pods as they come, start again and go: list, then watch from there, for ever.

_LONGEST_WATCH = 240
"""Seconds after which the server ends a watch: one that a firewall forgot must not last."""
_SILENCE = 60.0
"""Seconds beyond that in which nothing at all came: the connection is dead."""
_PAUSE = 0.2
"""Seconds between two watches; some proxies end each at once."""
Pods = Mapping[str, Pod]
"""By uid."""


class Following:
    """Tells of the pods; `heard` is called whenever something is different."""

    def __init__(self, api: ApiClient, selection: Selection, heard: Callable[[Pods], None]) -> None:
        self._api = api
        self._selection = selection
        self._heard = heard
        self._pods: dict[str, Pod] = {}
        self._version = ""
        self.connected = False
        """whether what was last told is what there is"""

    async def run(self) -> None:
        """For ever; errors are logged, and tried again after a growing pause."""
        while True:
            await self._try()
            await asyncio.sleep(_PAUSE)

    @retry(
        retry=retry_if_exception_type(PodError),
        wait=wait_random_exponential(multiplier=0.5, max=15),
        before_sleep=lambda state: _tell(state),  # noqa: PLW0108 - it is defined below
    )
    async def _try(self) -> None:
        """One watch to its end. The pauses grow only while not even that succeeds."""
        try:
            if not self._version:
                await self._list()
            self.connected = True
            await self._watch()
        except Expired:
            self._version = ""
        except PodError:
            # The next try begins with a list, so that pods are followed even where the account
            # may not watch them.
            self.connected, self._version = False, ""
            raise

    async def _list(self) -> None:
        pods, self._version = await find(self._api, self._selection)
        self._pods = {pod.uid: pod for pod in pods}
        self._heard(dict(self._pods))

    async def _watch(self) -> None:
        async with aclosing(self._lines()) as lines:
            async for line in lines:
                self._take(json.loads(line))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, document = event["type"], event["object"]
        if kind == "ERROR":
            if document.get("code") == HTTPStatus.GONE:
                raise Expired(str(document.get("message", "")))
            raise PodError(f"the watch failed: {document.get('message', '')[:300]}")
        self._version = document["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        pod = pod_of(document, self._selection)
        if kind == "DELETED":
            self._pods.pop(pod.uid, None)
        else:
            self._pods[pod.uid] = pod
        self._heard(dict(self._pods))

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        """What a watch says, line by line. Raises `PodError`."""
        async with asking(
            self._api,
            self._selection,
            seconds=_LONGEST_WATCH + _SILENCE,
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=self._version,
            timeout_seconds=_LONGEST_WATCH,
        ) as response:
            rest = b""
            async for piece in response.content.iter_any():
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.error("pods cannot be watched", reason=str(error), tries=state.attempt_number)


# Kubernetes Events on the pod: what `kubectl describe pod` shows of the keeper's work.

COMPONENT = "mediator-shim-keeper"
_LONGEST_MESSAGE = 1024
"""Characters of an Event's message; an API server refuses more."""
_SECONDS = 10.0


class Announcer:
    """Writes Events, until it is told that it may not."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._allowed = True

    async def tell(self, pod: Pod, *, reason: str, message: str, warning: bool = False) -> None:
        """Write one; what stands in the way is logged, and stops nothing."""
        if not self._allowed:
            return
        body = event(pod, reason=reason, message=message, warning=warning)
        try:
            await self._create(pod.place.namespace, body)
        except PodError as error:
            self._allowed = getattr(error.__cause__, "status", None) != HTTPStatus.FORBIDDEN
            _log.warning("event not written", pod=pod.name, reason=str(error))

    async def _create(self, namespace: str, body: dict[str, Any]) -> None:
        core = library("kubernetes.aio.client").CoreV1Api(self._api)
        try:
            await core.create_namespaced_event(namespace, body, _request_timeout=_SECONDS)
        except Exception as error:  # the library, aiohttp and the connection have their own
            raise PodError(describe(error)) from error


def event(pod: Pod, *, reason: str, message: str, warning: bool) -> dict[str, Any]:
    """As the API server takes it."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{pod.name[:200]}.", "namespace": pod.place.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod.name,
            "namespace": pod.place.namespace,
            "uid": pod.uid,
        },
        "reason": reason,
        "message": message[:_LONGEST_MESSAGE],
        "type": "Warning" if warning else "Normal",
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
