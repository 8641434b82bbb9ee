"""What a Job costs, and what becomes of Jobs when their mediator is killed again and again.

    KUBECONFIG=... python -m tests.benchmarks.kubernetes [--runs 10] [--kills 20] [--jobs 50]

Needs a cluster whose node is this machine, as tests/cluster does. Prints milliseconds from the
moment a delivery was accepted to the first command of its script (medians), as a process and as
a Job on the same machine in the same run, and their ratio; then, for a mediator that is killed and
started again while that many Jobs run, how many deliveries were started twice and how many lost.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mediator.kube.client import KubernetesClient
from tests.cluster.runner.support import left, new_namespace, section
from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator

SCRIPT = """#!/bin/sh
# mediator: {runner}
echo "$MEDIATOR_DELIVERY_ID $(date +%s%N)" >>{effects}
cat >/dev/null
sleep {seconds}
"""
PATIENCE = 900.0
"""Seconds for everything to end."""


class Stage:
    """A mediator with the same script for both runners."""

    def __init__(self, home: Path, namespace: KubernetesClient, *, seconds: float) -> None:
        self.shared = home / "shared"
        self.shared.mkdir()
        self.shared.chmod(0o777)
        self.effects = self.shared / "effects"
        self.effects.touch()
        self.effects.chmod(0o666)
        self.mediator = Mediator(home / "mediator")
        cluster = section(namespace.namespace, self.mediator.scripts, shared=(self.shared,))
        self.mediator.configure(
            {
                "kubernetes": cluster,
                "dispatch": {"slots": 100, "drain": "0s", "deduplicate": "0s"},
                "policies": {"job.sh": {"runner": "kubernetes"}},
            }
        )
        for name in ("job.sh", "process.sh"):
            text = SCRIPT.format(runner=name, effects=self.effects, seconds=seconds)
            self.mediator.script(name, text)

    def starts(self) -> list[tuple[str, int]]:
        """Delivery and time of each start, in nanoseconds since 1970."""
        lines = (line.split() for line in self.effects.read_text().splitlines())
        return [(delivery, int(moment)) for delivery, moment in lines]

    async def hand_over(self, script: str) -> str:
        async with Client(self.mediator.url) as client:
            answer = await client.hand_over(Handover(script=script))
        assert answer.status == 202, answer
        return answer.delivery

    async def states(self, ids: list[str]) -> Counter[str]:
        async with Client(self.mediator.url) as client:
            return Counter([(await client.delivery(each))["state"] for each in ids])


@asynccontextmanager
async def staged(*, seconds: float) -> AsyncIterator[tuple[Stage, KubernetesClient]]:
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        async with new_namespace() as namespace:
            stage = Stage(Path(home), namespace, seconds=seconds)
            with stage.mediator:
                yield stage, namespace


async def latency(runs: int) -> None:
    """From accepted to started, one at a time."""
    medians = {}
    async with staged(seconds=0) as (stage, _):
        for script in ("process.sh", "job.sh"):
            took = []
            for _ in range(runs):
                begun = time.time_ns()
                delivery = await stage.hand_over(script)
                await eventually(lambda: stage.states([delivery]), until=_succeeded)  # noqa: B023 - awaited here
                took.append((dict(stage.starts())[delivery] - begun) / 1e6)
            medians[script] = statistics.median(took)
            print(f"{script}: {medians[script]:.0f} ms to its first command (of {runs})")  # noqa: T201
    print(f"ratio: {medians['job.sh'] / medians['process.sh']:.0f}")  # noqa: T201


def _succeeded(states: Counter[str]) -> bool:
    return set(states) == {"succeeded"}


async def kills(count: int, jobs: int) -> None:
    """Kill the mediator while Jobs run."""
    async with staged(seconds=5) as (stage, namespace):
        ids = [await stage.hand_over("job.sh") for _ in range(jobs)]
        for _ in range(count):
            await asyncio.sleep(random.uniform(0.2, 3))  # noqa: S311 - any moment will do
            stage.mediator.kill()
            stage.mediator.start()
            while len(ids) - len({each for each, _ in stage.starts()}) < jobs // 2:
                ids.append(await stage.hand_over("job.sh"))
        states = await eventually(lambda: stage.states(ids), until=_over, seconds=PATIENCE)
        started = Counter(each for each, _ in stage.starts())
        twice = sum(1 for times in started.values() if times > 1)
        lost = len(set(ids) - set(started))
        remains = len(await left(namespace))
        print(  # noqa: T201
            f"{count} kills, {len(ids)} deliveries: {dict(states)}; started twice {twice}, "
            f"lost {lost}; objects left for the cluster to remove: {remains}"
        )


def _over(states: Counter[str]) -> bool:
    return not states["pending"] and not states["running"]


async def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=50)
    asked = parser.parse_args()
    if asked.runs:
        await latency(asked.runs)
    if asked.kills:
        await kills(asked.kills, asked.jobs)


if __name__ == "__main__":
    asyncio.run(main())
