"""The kubernetes runner. Implements the port `Runner`, with two differences that come of Jobs.

An attempt outlives the mediator: when `run` is cancelled, or `Run.leave` is set, the Job goes on,
and a `run` of the same name continues it. And the Job, with its pod and its ticket, stays until
`recorded` says that the store knows its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from functools import partial

import structlog

from mediator.errors import SettingsError
from mediator.kube.client import Cluster, api_client, describe
from mediator.model.delivery import Ended
from mediator.runners.kubernetes.attempt import Attempt
from mediator.runners.kubernetes.calls import Calls, persistently, status_of
from mediator.runners.kubernetes.manifests import job_name
from mediator.runners.kubernetes.rights import missing_rights
from mediator.runners.kubernetes.status import Sights
from mediator.runners.kubernetes.watching import Watch
from mediator.runners.port import LeftRunning, Run
from mediator.settings.schema import Kubernetes

_log = structlog.get_logger()
_NOT_FOUND = 404
_FIRST_LIST = 10.0
"""Seconds that the start waits for the cluster; it may be away, and come back later."""
_LAST_CALLS = 5.0
"""Seconds that what is to be removed gets at the end; the cluster itself removes the rest later."""


class KubernetesRunner:
    """Runs each attempt as a Job."""

    survives_daemon = True

    def __init__(self, settings: Kubernetes) -> None:
        self._settings = settings
        self._sights = Sights()
        self._stack = AsyncExitStack()
        self._calls: Calls | None = None
        self._watches: list[Watch] = []
        self._removing: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Connect, and begin to watch.

        Raises `SettingsError` when the cluster is known and does not allow what it takes; a
        cluster that cannot be reached is waited for in the background.
        """
        settings = self._settings
        cluster = Cluster(
            kubeconfig=settings.kubeconfig, context=settings.context, namespace=settings.namespace
        )
        client = await self._stack.enter_async_context(api_client(cluster))
        self._calls = calls = Calls(client, settings.namespace)
        try:
            await self._ask_for_rights(calls)
            await self._watch(calls)
        except BaseException:
            await self.close()
            raise

    async def _ask_for_rights(self, calls: Calls) -> None:
        try:
            missing = await missing_rights(calls)
        except Exception as error:
            if status_of(error) == 401:
                raise SettingsError(f"kubernetes: {describe(error)}.") from error
            _log.warning("Kubernetes rights not known", reason=describe(error))
            return
        if missing:
            verbs = ", ".join(f"{verb} {resource}" for verb, resource in missing)
            raise SettingsError(
                f"kubernetes: the mediator may not {verbs} in namespace {calls.namespace}; apply "
                "deploy/kubernetes-runner/role.yaml there, or give it what is missing."
            )

    async def _watch(self, calls: Calls) -> None:
        sights = self._sights
        for path, told, told_all in (
            (calls.jobs(), sights.job, sights.jobs),
            (calls.of_core("pods"), sights.pod, sights.pods),
        ):
            watch = Watch(
                calls=calls, path=path, listing=sights.listing, told=told, told_all=told_all
            )
            task = asyncio.create_task(watch.run(), name=f"watch {path}")
            self._stack.push_async_callback(_end, task)
            self._watches.append(watch)
        try:
            async with asyncio.timeout(_FIRST_LIST):
                for watch in self._watches:
                    await watch.listed.wait()
        except TimeoutError:
            _log.warning("Kubernetes not heard yet", reason=self._problem())

    def _problem(self) -> str:
        found = [watch.problem for watch in self._watches if watch.problem is not None]
        return describe(found[0]) if found else ""

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        """Run one attempt to its end, or go on with the one of that name; see `Runner.run`.

        Raises `LeftRunning` when the mediator goes down.
        """
        if self._calls is None or (run.leave is not None and run.leave.is_set()):
            raise LeftRunning
        attempt = Attempt(
            run,
            calls=self._calls,
            sights=self._sights,
            settings=self._settings,
            problem=self._problem,
        )
        return await attempt.end(stop=stop)

    async def recorded(self, name: str) -> None:
        """Remove the Job of that run, in the background, and with it its pod and its ticket."""
        if name in self._removing:
            return
        task = asyncio.create_task(self._remove(job_name(name)), name=f"remove {name}")
        self._removing[name] = task
        task.add_done_callback(lambda _: self._removing.pop(name))

    def kept(self) -> Collection[str]:
        """Names of runs whose Jobs have ended, and are neither followed nor removed here."""
        return self._sights.ended() - self._removing.keys()

    async def _remove(self, name: str) -> None:
        if self._calls is None:
            return
        try:
            await persistently(partial(self._calls.delete, self._calls.jobs(name)))
        except Exception as error:  # noqa: BLE001 - the cluster removes it later by itself
            if status_of(error) != _NOT_FOUND:
                _log.error("Job not removed", job=name, reason=describe(error))

    async def close(self) -> None:
        """Let go of the cluster. Jobs that run go on, and the next mediator finds them."""
        if self._removing:
            await asyncio.wait(self._removing.values(), timeout=_LAST_CALLS)
        for task in list(self._removing.values()):
            await _end(task)
        await self._stack.aclose()
        self._calls = None
        self._watches.clear()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
