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
from http import HTTPStatus

import structlog

from mediator.errors import SettingsError
from mediator.kube.access import RUNNER_RIGHTS, review
from mediator.kube.client import (
    Cluster,
    KubernetesClient,
    KubernetesError,
    connect,
    describe,
    with_retry,
)
from mediator.kube.watch import Reflector
from mediator.model.delivery import Ended
from mediator.runners.kubernetes.attempt import JobAttempt
from mediator.runners.kubernetes.informer import InformerCache
from mediator.runners.kubernetes.manifests import SELECTOR, job_name
from mediator.runners.port import LeftRunning, Run
from mediator.settings.kubernetes import Kubernetes

_log = structlog.get_logger()
_FIRST_LIST = 10.0
"""Seconds that the start waits for the cluster; it may be away, and come back later."""
_LAST_CALLS = 5.0
"""Seconds that what is to be removed gets at the end; the cluster itself removes the rest later."""


class KubernetesRunner:
    """Runs each attempt as a Job."""

    survives_daemon = True

    def __init__(self, settings: Kubernetes) -> None:
        self._settings = settings
        self._cache = InformerCache()
        self._stack = AsyncExitStack()
        self._client: KubernetesClient | None = None
        self._reflectors: list[Reflector] = []
        self._removing: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Connect, and begin to watch.

        Raises `SettingsError` when the cluster is known and does not allow what it takes; a
        cluster that cannot be reached is waited for in the background.
        """
        cluster = Cluster.of(self._settings)
        self._client = client = await self._stack.enter_async_context(connect(cluster))
        try:
            await self._review_rights(client)
            await self._watch(client)
        except BaseException:
            await self.close()
            raise

    async def _review_rights(self, client: KubernetesClient) -> None:
        try:
            rights = await review(client, RUNNER_RIGHTS)
        except KubernetesError as error:
            if error.code == HTTPStatus.UNAUTHORIZED:
                raise SettingsError(f"kubernetes: {error}.") from error
            _log.warning("Kubernetes rights not known", reason=str(error))
            return
        missing = [f"{verb} {resource}" for (verb, resource), there in rights.items() if not there]
        if missing:
            raise SettingsError(
                f"kubernetes: the mediator may not {', '.join(missing)} in namespace"
                f" {client.namespace}; apply deploy/kubernetes-runner/role.yaml there, or give it"
                " what is missing."
            )

    async def _watch(self, client: KubernetesClient) -> None:
        """One loop over all Jobs and one over all their pods; wait for what there is at first."""
        cache = self._cache
        for path, on_list, on_change in (
            (client.jobs(), cache.replace_jobs, cache.change_job),
            (client.core("pods"), cache.replace_pods, cache.change_pod),
        ):
            reflector = Reflector(
                client, path, selector=SELECTOR, on_list=on_list, on_change=on_change
            )
            task = asyncio.create_task(reflector.run(), name=f"watch {path}")
            self._stack.push_async_callback(_end, task)
            self._reflectors.append(reflector)
        try:
            async with asyncio.timeout(_FIRST_LIST):
                for reflector in self._reflectors:
                    await reflector.listed.wait()
        except TimeoutError:
            _log.warning("Kubernetes not heard yet", reason=self._problem())

    def _problem(self) -> str:
        """Why the cluster cannot be heard now; empty: it can."""
        found = [one.problem for one in self._reflectors if one.problem is not None]
        return describe(found[0]) if found else ""

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        """Run one attempt to its end, or go on with the one of that name; see `Runner.run`.

        Raises `LeftRunning` when the mediator goes down.
        """
        if self._client is None or (run.leave is not None and run.leave.is_set()):
            raise LeftRunning
        attempt = JobAttempt(
            run,
            client=self._client,
            cache=self._cache,
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
        return self._cache.ended() - self._removing.keys()

    async def _remove(self, name: str) -> None:
        if self._client is None:
            return
        try:
            await with_retry(partial(self._client.delete, self._client.jobs(name)))
        except KubernetesError as error:  # the cluster removes it later by itself
            if error.code != HTTPStatus.NOT_FOUND:
                _log.error("Job not removed", job=name, reason=str(error))

    async def close(self) -> None:
        """Let go of the cluster. Jobs that run go on, and the next mediator finds them."""
        if self._removing:
            await asyncio.wait(self._removing.values(), timeout=_LAST_CALLS)
        for task in list(self._removing.values()):
            await _end(task)
        await self._stack.aclose()
        self._client = None
        self._reflectors.clear()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
