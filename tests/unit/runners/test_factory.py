"""Which runner runs which attempts, and what stands for a cluster that is not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mediator.errors import SettingsError
from mediator.model.delivery import Outcome
from mediator.model.policy import RunnerName
from mediator.runners.factory import NoCluster, Runners
from mediator.runners.port import Run

RUN = Run(
    name="d1-1", program=Path("/a.py"), arguments=(), environment={}, stdin=b"", timeout=1, grace=1
)


class Counting(NoCluster):
    """Knows whether it was started and closed."""

    def __init__(self, *, fails: bool = False) -> None:
        self.calls: list[str] = []
        self._fails = fails

    async def start(self) -> None:
        if self._fails:
            raise SettingsError("not on this machine")
        self.calls.append("start")

    async def close(self) -> None:
        self.calls.append("close")


@pytest.mark.parametrize("name", RunnerName)
def test_what_has_a_pod_is_run_by_the_cluster_and_the_rest_here(name: RunnerName) -> None:
    here, cluster = NoCluster(), NoCluster()
    runners = Runners(here=here, cluster=cluster)
    assert runners.of(name) is (cluster if name == "kubernetes" else here)
    assert list(runners) == [here, cluster]


async def test_without_a_cluster_nothing_is_started_that_is_to_run_there() -> None:
    runner = Runners(here=NoCluster()).of(RunnerName.KUBERNETES)
    ended = await runner.run(RUN, stop=asyncio.Event())
    assert ended.outcome is Outcome.NOT_STARTED
    assert "kubernetes.enabled is not set" in ended.reason
    assert runner.survives_daemon, "what an earlier mediator began there is not put back"
    assert list(runner.kept()) == []


async def test_all_are_started_and_closed_together() -> None:
    here, cluster = Counting(), Counting()
    runners = Runners(here=here, cluster=cluster)
    await runners.start()
    await runners.close()
    assert here.calls == cluster.calls == ["start", "close"]


async def test_a_cluster_that_cannot_be_used_leaves_nothing_started() -> None:
    here = Counting()
    with pytest.raises(SettingsError):
        await Runners(here=here, cluster=Counting(fails=True)).start()
    assert here.calls == ["start", "close"]
