"""A Job that a killed mediator has left behind is removed by the next one, and no other Job."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from mediator.kube.client import KubernetesClient
from mediator.model.delivery import Outcome
from mediator.runners.kubernetes.runner import KubernetesRunner
from tests.cluster.runner.support import PodScripts, exists, left, section, settings
from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator


async def leave_behind(namespace: KubernetesClient, scripts: PodScripts, *names: str) -> None:
    """Jobs of these names, ended, as of a mediator that is killed before it removes them."""
    runner = KubernetesRunner(settings(namespace.namespace, scripts.directory))
    await runner.start()
    for name in names:
        run = scripts.run(scripts.bash("exit 0"), name=name)
        ended = await runner.run(run, stop=asyncio.Event())
        assert ended.outcome is Outcome.OK, ended.reason
    await runner.close()


async def test_what_was_recorded_and_not_removed_goes_soon_after_the_next_start(
    namespace: KubernetesClient, scripts: PodScripts, tmp_path: Path
) -> None:
    mediator = Mediator(tmp_path / "mediator")
    cluster = section(namespace.namespace, mediator.scripts)
    mediator.configure(
        {"kubernetes": cluster, "dispatch": {"runner": "kubernetes"}, "store": {"lease": "4s"}}
    )
    mediator.script("work.sh", "#!/bin/sh\n")
    with mediator:
        async with Client(mediator.url) as client:
            recorded = (await client.hand_over(Handover(script="work.sh"))).delivery
            await eventually(
                lambda: client.delivery(recorded), until=lambda d: d["state"] == "succeeded"
            )
        await eventually(lambda: left(namespace), until=lambda found: found == [])
        mediator.kill()
        foreign = str(uuid.uuid4())
        await leave_behind(namespace, scripts, f"{recorded}-1", f"{foreign}-1")
        mediator.start()
        job = namespace.jobs(f"mediator-{recorded}-1")
        await eventually(lambda: exists(namespace, job), until=lambda found: not found)
        (told,) = mediator.events("recorded attempt removed from its runner")
        assert told["run"] == f"{recorded}-1"
        await eventually(lambda: left(namespace), until=lambda found: len(found) == 3)
        assert all(foreign in name for name in await left(namespace))
