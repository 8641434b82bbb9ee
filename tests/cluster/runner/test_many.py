"""Many runs leave nothing behind."""

from __future__ import annotations

import asyncio
import os

import psutil
import pytest

from mediator.kube.client import KubernetesClient
from mediator.model.delivery import Outcome
from mediator.runners.kubernetes.runner import KubernetesRunner
from tests.cluster.runner.support import PodScripts, left
from tests.integration.runners.support import until
from tests.support.conditions import eventually

RUNS = int(os.environ.get("MEDIATOR_CLUSTER_RUNS", "200"))
AT_ONCE = 20


@pytest.mark.timeout(900)
async def test_many_runs_leave_no_object_no_process_and_no_descriptor(
    namespace: KubernetesClient, runner: KubernetesRunner, scripts: PodScripts
) -> None:
    script = scripts.bash('read line; echo "$1 $line"')
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            run = scripts.run(script, str(number), stdin=b"x\n")
            ended = await runner.run(run, stop=asyncio.Event())
        assert (ended.outcome, ended.stdout.kept) == (Outcome.OK, b"%d x\n" % number), ended

    await one(0)
    this = psutil.Process()
    descriptors = this.num_fds()
    async with asyncio.TaskGroup() as group:
        for number in range(1, RUNS):
            group.create_task(one(number))
    await eventually(lambda: left(namespace), until=lambda found: found == [])
    assert scripts.living() == []
    await until(lambda: this.num_fds() <= descriptors + AT_ONCE)  # connections that are kept open
