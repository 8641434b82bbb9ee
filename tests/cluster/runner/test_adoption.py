"""Jobs go on while their mediator is away, and the next one goes on with them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mediator.kube.client import KubernetesClient
from mediator.model.delivery import Outcome
from mediator.runners.kubernetes.runner import KubernetesRunner
from mediator.runners.port import LeftRunning
from tests.cluster.runner.support import PodScripts, kubeconfig, left, section, settings
from tests.integration.runners.support import until
from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator


class Stage:
    """A mediator whose scripts run as Jobs, and what those have done."""

    def __init__(self, home: Path, namespace: KubernetesClient) -> None:
        self.shared = home / "shared"
        self.shared.mkdir()
        self.shared.chmod(0o777)
        self.go = self.shared / "go"
        self.mediator = Mediator(home / "mediator")
        cluster = section(namespace.namespace, self.mediator.scripts, shared=(self.shared,))
        self.mediator.configure(
            {"kubernetes": cluster, "dispatch": {"runner": "kubernetes", "drain": "0s"}}
        )
        self.mediator.script(
            "work.sh",
            "#!/bin/sh\n"
            f'echo "$MEDIATOR_DELIVERY_ID $MEDIATOR_ATTEMPT $(cat)" >>{self.shared}/effects\n'
            f"echo begun; until [ -e {self.go} ]; do sleep 0.1; done; echo ended; echo done >&2\n",
        )

    def effects(self) -> list[str]:
        path = self.shared / "effects"
        return path.read_text().splitlines() if path.exists() else []

    async def hand_over(self, count: int, *, first: int = 1) -> list[str]:
        async with Client(self.mediator.url) as client:
            answers = [
                await client.hand_over(
                    Handover(
                        script="work.sh",
                        body=f"<ticket_info><id>{n}</id></ticket_info>".encode(),
                    )
                )
                for n in range(first, first + count)
            ]
        assert {answer.status for answer in answers} == {202}
        return [answer.delivery for answer in answers]

    async def delivery(self, delivery_id: str) -> dict[str, Any]:
        async with Client(self.mediator.url) as client:
            return await client.delivery(delivery_id)

    async def until_succeeded(self, delivery_id: str) -> dict[str, Any]:
        return await eventually(
            lambda: self.delivery(delivery_id), until=lambda d: d["state"] == "succeeded"
        )


@pytest.fixture
def stage(tmp_path: Path, namespace: KubernetesClient) -> Iterator[Stage]:
    stage = Stage(tmp_path, namespace)
    with stage.mediator:
        yield stage


def kill(stage: Stage) -> None:
    stage.mediator.kill()


def shut_down(stage: Stage) -> None:
    assert stage.mediator.terminate() == 0


@pytest.mark.parametrize("leave", [kill, shut_down])
async def test_what_runs_when_the_mediator_goes_is_finished_by_the_next(
    stage: Stage, namespace: KubernetesClient, leave: Callable[[Stage], None]
) -> None:
    ids = await stage.hand_over(3)
    await until(lambda: len(stage.effects()) == 3)
    leave(stage)
    stage.mediator.start()
    await until(lambda: stage.mediator.events("attempts adopted that another mediator began"))
    stage.go.touch()
    for delivery_id in ids:
        (attempt,) = (await stage.until_succeeded(delivery_id))["attempts"]
        assert (attempt["outcome"], attempt["number"]) == ("ok", 1)
        assert attempt["stdout"] == "begun\nended\n"
        assert attempt["stderr"] == "done\n"
    assert sorted(line.split()[0] for line in stage.effects()) == sorted(ids)
    await eventually(lambda: left(namespace), until=lambda found: found == [])


async def test_what_ended_while_no_mediator_was_there_is_recorded_and_not_run_again(
    stage: Stage, namespace: KubernetesClient
) -> None:
    (delivery_id,) = await stage.hand_over(1)
    await until(lambda: len(stage.effects()) == 1)
    stage.mediator.kill()
    stage.go.touch()
    path = namespace.jobs(f"mediator-{delivery_id}-1")
    await eventually(
        lambda: namespace.get(path), until=lambda job: job["status"].get("succeeded") == 1
    )
    stage.mediator.start()
    (attempt,) = (await stage.until_succeeded(delivery_id))["attempts"]
    assert attempt["stdout"] == "begun\nended\n"
    assert len(stage.effects()) == 1


async def test_an_operator_stops_what_was_adopted(
    stage: Stage, namespace: KubernetesClient
) -> None:
    (delivery_id,) = await stage.hand_over(1)
    await until(lambda: len(stage.effects()) == 1)
    stage.mediator.kill()
    stage.mediator.start()
    async with Client(stage.mediator.url) as client:
        assert (await client.post(f"/v1/deliveries/{delivery_id}/cancel")).status == 200
    await eventually(lambda: stage.delivery(delivery_id), until=lambda d: d["state"] == "cancelled")
    await eventually(lambda: left(namespace), until=lambda found: found == [])


@contextmanager
def api_server_stopped() -> Iterator[None]:
    """The API server stands still, as if its machine were gone."""
    path = kubeconfig().parent / "apiserver.pid"
    if not path.exists():
        pytest.skip("the cluster was not started by this project, so it is not touched")
    pid = int(path.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_an_api_server_that_is_away_for_a_while_loses_nothing(
    stage: Stage, namespace: KubernetesClient
) -> None:
    before = await stage.hand_over(2)
    await until(lambda: len(stage.effects()) == 2)
    with api_server_stopped():
        meanwhile = await stage.hand_over(2, first=3)
        stage.go.touch()
        await asyncio.sleep(60)  # longer than any lease, a watch and most pauses between calls
    for delivery_id in (*before, *meanwhile):
        (attempt,) = (await stage.until_succeeded(delivery_id))["attempts"]
        assert attempt["stdout"] == "begun\nended\n"
    assert len(stage.effects()) == 4
    await eventually(lambda: left(namespace), until=lambda found: found == [])


async def test_a_run_that_was_left_goes_on_under_its_name_and_is_timed_from_its_start(
    namespace: KubernetesClient, tmp_path: Path
) -> None:
    scripts = PodScripts(tmp_path)
    ready = tmp_path / "ready"
    run = scripts.run(scripts.bash(f"touch {ready}; echo said; sleep 1000"), timeout=5, grace=1)
    first = KubernetesRunner(settings(namespace.namespace, tmp_path))
    await first.start()
    running = asyncio.create_task(first.run(run, stop=asyncio.Event()))
    await until(ready.exists)
    running.cancel()
    with pytest.raises((asyncio.CancelledError, LeftRunning)):
        await running
    await first.close()
    second = KubernetesRunner(settings(namespace.namespace, tmp_path))
    await second.start()
    ended = await second.run(run, stop=asyncio.Event())
    assert (ended.outcome, ended.stdout.kept) == (Outcome.TIMEOUT, b"said\n")
    await second.recorded(run.name)
    await second.close()
    assert (
        await left(namespace) == []
        or await eventually(lambda: left(namespace), until=lambda found: found == []) == []
    )
