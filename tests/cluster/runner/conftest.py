"""The runner against a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mediator.kube.client import KubernetesClient
from mediator.model.delivery import Ended
from mediator.runners.kubernetes.runner import KubernetesRunner
from mediator.runners.port import Run
from tests.cluster.runner.support import PodScripts, left, new_namespace, settings
from tests.integration.runners.support import Start
from tests.support.conditions import eventually

CLEARED = 150.0
"""Seconds for the cluster to remove what it was told to.

An old kubelet looks again after a minute at a pod whose containers it could not make.
"""


@pytest.fixture
async def namespace() -> AsyncIterator[KubernetesClient]:
    async with new_namespace() as client:
        yield client


@pytest.fixture
def scripts(tmp_path: Path) -> PodScripts:
    return PodScripts(tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the other runners make working directories, and this one does not."""
    return tmp_path / "work"


class Recording(KubernetesRunner):
    """Records what has ended, as the dispatcher does."""

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        ended = await super().run(run, stop=stop)
        await self.recorded(run.name)
        return ended


@pytest.fixture
async def runner(namespace: KubernetesClient, tmp_path: Path) -> AsyncIterator[KubernetesRunner]:
    """A runner; when the test is over nothing of its attempts is left."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    runner = Recording(settings(namespace.namespace, tmp_path))
    await runner.start()
    yield runner
    await runner.close()
    await eventually(lambda: nothing_left(namespace), seconds=CLEARED)
    assert failures == []


async def nothing_left(namespace: KubernetesClient) -> bool:
    return await left(namespace) == []


@pytest.fixture
def attempt(runner: KubernetesRunner, scripts: PodScripts) -> Start:
    def start(
        program: Path, *arguments: str, stop: asyncio.Event | None = None, **keywords: Any
    ) -> asyncio.Task[Ended]:
        run = scripts.run(program, *arguments, **keywords)
        return asyncio.create_task(runner.run(run, stop=stop or asyncio.Event()))

    return start
