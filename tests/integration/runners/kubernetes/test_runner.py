"""The life of an attempt as a Job, against a server in which a test plays the cluster.

What real clusters do is for tests/cluster; here everything may happen that is hard to provoke.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mediator.errors import SettingsError
from mediator.kube.client import Cluster, connect
from mediator.model.delivery import Ended, Outcome
from mediator.runners.kubernetes.attempt import why_no_pod
from mediator.runners.kubernetes.runner import KubernetesRunner
from mediator.runners.kubernetes.status import Failed, Pending
from mediator.runners.port import LeftRunning, Run
from mediator.settings.kubernetes import Kubernetes
from tests.support.api_server import write_kubeconfig
from tests.support.conditions import eventually
from tests.support.job_server import JobServer, job_server

NAME = "01945d3e-7a3a-7000-8000-000000000001-1"
JOB = f"mediator-{NAME}"
POD = f"{JOB}-abcde"

pytestmark = pytest.mark.usefixtures("no_task_left")


def run(**changes: Any) -> Run:
    values: dict[str, Any] = {
        "name": NAME,
        "program": Path("/srv/scripts/notify.sh"),
        "arguments": (),
        "environment": {},
        "stdin": b"<ticket_info/>",
        "timeout": 60.0,
        "grace": 1.0,
        "script": "notify.sh",
        **changes,
    }
    return Run(**values)


@pytest.fixture
async def server() -> AsyncIterator[JobServer]:
    async with job_server(JobServer()) as running:
        yield running


@asynccontextmanager
async def started(
    server: JobServer, directory: Path, **changes: Any
) -> AsyncIterator[KubernetesRunner]:
    """A runner that has this cluster."""
    config = write_kubeconfig(directory, server.url)
    section = {"kubeconfig": config, "namespace": "jobs", "image": "python:3", **changes}
    runner = KubernetesRunner(Kubernetes.model_validate(section))
    try:
        await runner.start()
        yield runner
    finally:
        await runner.close()


@pytest.fixture
async def runner(server: JobServer, tmp_path: Path) -> AsyncIterator[KubernetesRunner]:
    async with started(server, tmp_path) as running:
        yield running


def begun(runner: KubernetesRunner, stop: asyncio.Event, **changes: Any) -> asyncio.Task[Ended]:
    return asyncio.create_task(runner.run(run(**changes), stop=stop))


async def pod_of(server: JobServer) -> str:
    """The pod, as soon as it is there."""

    async def there() -> bool:
        return POD in server.objects.get("pods", {})

    await eventually(there)
    return POD


async def asked(server: JobServer, method: str, kind: str) -> None:
    """Wait for such a request."""

    async def seen() -> bool:
        return (method, kind) in server.asked

    await eventually(seen)


async def test_a_run_is_a_job_that_is_let_go_when_its_ticket_is_there(
    server: JobServer, runner: KubernetesRunner
) -> None:
    heard: list[tuple[str, bytes]] = []
    attempt = begun(runner, asyncio.Event(), on_output=lambda *what: heard.append(what))
    pod = await pod_of(server)
    assert server.asked == [("POST", "jobs"), ("POST", "secrets"), ("PATCH", "jobs")]
    data = server.objects["secrets"][JOB]["data"]
    assert base64.b64decode(data["ticket"]) == b"<ticket_info/>"
    server.start_script(pod)
    server.write(pod, "script", b"out")
    server.write(pod, "stderr", b"err")
    server.end_script(pod)
    ended = await attempt
    assert (ended.outcome, ended.exit_code, ended.reason) == (Outcome.OK, 0, "")
    assert (ended.stdout.kept, ended.stderr.kept) == (b"out", b"err")
    assert sorted(heard) == [("stderr", b"err"), ("stdout", b"out")]


async def test_what_is_recorded_is_removed_and_until_then_kept(
    server: JobServer, tmp_path: Path
) -> None:
    async with started(server, tmp_path) as runner:
        attempt = begun(runner, asyncio.Event())
        server.end_script(await pod_of(server), 3)
        assert (await attempt).outcome is Outcome.FAILED
        job = server.objects["jobs"][JOB]
        job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
        server.put("jobs", job)

        async def kept() -> list[str]:
            return list(runner.kept())

        assert await eventually(kept) == [NAME]
        await runner.recorded(NAME)
        assert runner.kept() == set()
        await asked(server, "DELETE", "jobs")
    assert server.objects == {"jobs": {}, "secrets": {}, "pods": {}}


@pytest.mark.parametrize(
    ("changes", "stops", "expected"),
    [
        pytest.param({}, True, Outcome.CANCELLED, id="because somebody asked"),
        pytest.param({"timeout": 0.1}, False, Outcome.TIMEOUT, id="after its timeout"),
    ],
)
async def test_a_script_is_ended_by_its_node(
    server: JobServer,
    runner: KubernetesRunner,
    changes: dict[str, Any],
    stops: bool,
    expected: Outcome,
) -> None:
    stop = asyncio.Event()
    server.on_deadline = lambda pod: server.end_script(
        pod, 143, phase="Failed", reason="DeadlineExceeded"
    )
    attempt = begun(runner, stop, **changes)
    server.start_script(await pod_of(server))
    if stops:
        stop.set()
    ended = await attempt
    assert (ended.outcome, ended.signal) == (expected, 15)
    annotations = server.objects["jobs"][JOB]["metadata"]["annotations"]
    assert f'"outcome": "{expected}"' in annotations["securechange-mediator/stopped"]
    assert server.objects["pods"][POD]["spec"]["activeDeadlineSeconds"] == 1


async def test_a_run_that_is_stopped_before_it_has_a_pod_gets_none(
    server: JobServer, runner: KubernetesRunner
) -> None:
    stop = asyncio.Event()
    server.refusals["PATCH", "jobs"] = (503, "away")
    attempt = begun(runner, stop)
    await asked(server, "PATCH", "jobs")
    stop.set()
    ended = await attempt
    assert ended.outcome is Outcome.CANCELLED
    assert "pods" not in server.objects


async def test_a_run_goes_on_without_its_mediator_and_the_next_one_follows_it(
    server: JobServer, tmp_path: Path
) -> None:
    async with started(server, tmp_path) as first:
        leave = asyncio.Event()
        attempt = begun(first, asyncio.Event(), leave=leave)
        server.start_script(await pod_of(server))
        leave.set()
        with pytest.raises(LeftRunning):
            await attempt
    assert JOB in server.objects["jobs"]
    async with started(server, tmp_path) as second:
        attempt = begun(second, asyncio.Event(), timeout=10.0**9)
        server.write(POD, "script", b"out")
        server.end_script(POD)
        assert (await attempt).stdout.kept == b"out"
    assert [kind for method, kind in server.asked if method == "POST"] == ["jobs", "secrets"] * 2
    assert list(server.objects["pods"]) == [POD]


async def test_what_an_earlier_mediator_stopped_ends_as_it_said(
    server: JobServer, tmp_path: Path
) -> None:
    async with started(server, tmp_path) as first:
        stop, leave = asyncio.Event(), asyncio.Event()
        attempt = begun(first, stop, leave=leave)
        server.start_script(await pod_of(server))
        stop.set()
        await asked(server, "PATCH", "pods")
        leave.set()
        with pytest.raises(LeftRunning):
            await attempt
    server.end_script(POD, 143)
    async with started(server, tmp_path) as second:
        ended = await begun(second, asyncio.Event())
    assert (ended.outcome, ended.reason) == (
        Outcome.CANCELLED,
        "stopped because that was asked for",
    )


async def test_a_job_that_somebody_deletes_is_lost(
    server: JobServer, runner: KubernetesRunner
) -> None:
    attempt = begun(runner, asyncio.Event())
    server.start_script(await pod_of(server))
    server.remove("jobs", JOB)
    ended = await attempt
    assert ended.outcome is Outcome.LOST
    assert ended.reason.startswith("its Job was deleted, and not by the mediator")


async def test_a_pod_that_is_evicted_takes_its_output_with_it(
    server: JobServer, runner: KubernetesRunner
) -> None:
    heard: list[bytes] = []
    attempt = begun(runner, asyncio.Event(), on_output=lambda _, data: heard.append(data))
    pod = await pod_of(server)
    server.start_script(pod)
    server.write(pod, "script", b"some")

    async def followed() -> list[bytes]:
        return heard

    await eventually(followed)
    server.set_state(pod, {}, phase="Failed", reason="Evicted", message="disk")
    for container in ("script", "stderr"):
        server.log(pod, container).write(gone=True)
    ended = await attempt
    assert ended.outcome is Outcome.EVICTED
    assert ended.reason == (
        "its pod was evicted (Evicted: disk); its output, or the end of it, was lost with its pod"
    )
    assert ended.stdout.kept == b"some"


@pytest.mark.parametrize(
    ("status", "outcome", "final"),
    [
        pytest.param(422, Outcome.NOT_STARTED, True, id="for what it is"),
        pytest.param(403, Outcome.REFUSED, False, id="for now"),
    ],
)
async def test_a_job_that_the_cluster_refuses_is_not_started(
    server: JobServer,
    runner: KubernetesRunner,
    status: int,
    outcome: Outcome,
    final: bool,
) -> None:
    server.refusals["POST", "jobs"] = (status, "exceeded quota: few")
    ended = await runner.run(run(), stop=asyncio.Event())
    assert (ended.outcome, ended.final) == (outcome, final)
    assert ended.reason.endswith(f"exceeded quota: few ({status})")


async def test_why_there_is_no_pod_is_asked_of_the_events(
    server: JobServer, tmp_path: Path
) -> None:
    pending = Pending(reason="the cluster has made no pod for its Job")
    config = write_kubeconfig(tmp_path, server.url)
    async with connect(Cluster(kubeconfig=config, context=None, namespace="jobs")) as client:
        assert await why_no_pod(client, JOB, pending) == pending
        server.put("events", {"metadata": {"name": "e"}, "message": "exceeded quota: few."})
        assert await why_no_pod(client, JOB, pending) == Failed(
            outcome=Outcome.REFUSED, reason="refused by the cluster: exceeded quota: few"
        )
        server.refusals["GET", "events"] = (403, "no")
        assert await why_no_pod(client, JOB, pending) == pending


@pytest.mark.parametrize(
    ("makes_pods", "reason"),
    [
        pytest.param(True, "its pod has not started", id="its pod does not start"),
        pytest.param(False, "the cluster has made no pod for its Job", id="it has no pod"),
    ],
)
async def test_a_run_that_does_not_start_in_time_is_given_up(
    server: JobServer, tmp_path: Path, makes_pods: bool, reason: str
) -> None:
    server.makes_pods = makes_pods
    async with started(server, tmp_path, start_timeout="300ms") as runner:
        ended = await runner.run(run(), stop=asyncio.Event())
    assert (ended.outcome, ended.reason) == (Outcome.NOT_STARTED, reason)


async def test_a_watch_that_ends_loses_nothing(server: JobServer, runner: KubernetesRunner) -> None:
    attempt = begun(runner, asyncio.Event())
    pod = await pod_of(server)
    server.end_watches()
    server.end_script(pod)
    assert (await attempt).outcome is Outcome.OK


@pytest.mark.parametrize("right", [("watch", "pods"), ("get", "pods/log"), ("patch", "jobs")])
async def test_a_right_that_is_missing_is_named_at_the_start(
    server: JobServer, tmp_path: Path, right: tuple[str, str]
) -> None:
    server.denied.add(right)
    with pytest.raises(SettingsError, match=rf"may not {right[0]} {right[1]} in namespace jobs;"):
        async with started(server, tmp_path):
            pass
