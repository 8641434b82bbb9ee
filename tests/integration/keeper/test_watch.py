"""The watch, through a server that runs an exec's command here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from mediator.clock import SystemClock
from mediator.errors import SettingsError
from mediator.keeper.page import served
from mediator.keeper.pods import Selection
from mediator.keeper.protocol import PodFile
from mediator.keeper.sync import DesiredFiles
from mediator.keeper.watch import ShimWatch
from mediator.kube.client import Cluster, connect
from mediator.metrics.keeper import KeeperMetrics
from tests.support.api_server import ApiServer, api_server
from tests.support.conditions import eventually

SELECTION = Selection(selector="app=sc", container=None)
pytestmark = pytest.mark.usefixtures("no_task_left")


def shim(code: int) -> PodFile:
    """One whose self-test ends so."""
    return PodFile(name="securechange-shim", data=f"exit {code}\n".encode(), mode=0o755)


class Files:
    """What belongs into the pod, which tests change."""

    def __init__(self, directory: Path, file: PodFile) -> None:
        self.directory = directory
        self.file = file
        self.error: SettingsError | None = None

    def __call__(self) -> DesiredFiles:
        if self.error is not None:
            raise self.error
        return DesiredFiles(
            directory=str(self.directory), files=(self.file,), shim=self.file.name, seconds=60
        )

    @property
    def in_pod(self) -> Path:
        return self.directory / self.file.name


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "scripts").mkdir()
    return Files(tmp_path / "scripts", shim(0))


@asynccontextmanager
async def watching(
    server: ApiServer,
    files: Files,
    directory: Path,
    *,
    check_every: float = 3600,
    selection: Selection = SELECTION,
) -> AsyncIterator[KeeperMetrics]:
    counted = KeeperMetrics()
    async with api_server(server):
        cluster = Cluster(kubeconfig=server.kubeconfig(directory), context=None, namespace="tos")
        async with connect(cluster) as client:
            watch = ShimWatch(
                client,
                selection,
                desired=files,
                check_every=check_every,
                metrics=counted,
                clock=SystemClock(),
            )
            task = asyncio.create_task(watch.run())
            try:
                yield counted
            finally:
                task.cancel()
                await asyncio.wait({task})


async def reaches(
    counted: KeeperMetrics,
    name: str,
    *,
    until: Callable[[float], bool] = lambda value: value >= 1,
    **labels: str,
) -> None:
    async def look() -> float:
        return counted.registry.get_sample_value(name, labels) or 0.0

    await eventually(look, until=until)


@pytest.fixture
def server() -> ApiServer:
    made = ApiServer()
    made.add_pod()
    return made


async def test_files_are_put_there_and_an_event_says_so(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    async with watching(server, files, tmp_path) as counted:
        await reaches(counted, "mediator_shim_pods", state="kept")
        await reaches(counted, "mediator_shim_repair_delay_seconds_count")
    assert files.in_pod.read_bytes() == files.file.data
    (event,) = server.events
    assert (event["reason"], event["message"]) == ("ShimPutBack", "Put back: securechange-shim.")
    assert event["involvedObject"]["uid"] == "uid-sc-1"


async def test_a_container_that_starts_again_in_its_pod_gets_them_again(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    async with watching(server, files, tmp_path) as counted:
        await reaches(counted, "mediator_shim_pods", state="kept")
        files.in_pod.unlink()
        (pod,) = server.pods
        pod["metadata"]["resourceVersion"] = "10"
        pod["status"]["containerStatuses"][0]["containerID"] = "c://2"
        server.change("MODIFIED", pod)
        await reaches(
            counted,
            "mediator_shim_files_written_total",
            until=lambda value: value == 2,
            drift="missing",
        )
    assert files.in_pod.read_bytes() == files.file.data


async def test_a_pod_that_comes_is_kept_and_one_that_goes_is_forgotten(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    async with watching(server, files, tmp_path) as counted:
        await reaches(counted, "mediator_shim_pods", state="kept")
        server.add_pod("sc-2")
        server.change("ADDED", server.pods[1])
        await reaches(counted, "mediator_shim_pods", until=lambda value: value == 2, state="kept")
        server.change("DELETED", server.pods[0])
        await reaches(counted, "mediator_shim_pods", until=lambda value: value == 1, state="kept")


async def test_what_belongs_there_is_asked_anew_at_each_look(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    async with watching(server, files, tmp_path, check_every=0.05) as counted:
        await reaches(counted, "mediator_shim_pods", state="kept")
        files.file = PodFile(name=files.file.name, data=b"exit 0 # newer\n", mode=0o755)
        await reaches(counted, "mediator_shim_files_written_total", drift="content")
        assert files.in_pod.read_bytes() == b"exit 0 # newer\n"


async def test_settings_that_broke_meanwhile_are_told_once_and_end_nothing(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    files.error = SettingsError("securechange.key is missing")
    with capture_logs() as logs:
        async with watching(server, files, tmp_path) as counted:
            await reaches(
                counted,
                "mediator_shim_checks_total",
                until=lambda value: value >= 2,
                result="failed",
            )
            files.error = None
            await reaches(counted, "mediator_shim_pods", state="kept")
    told = [line["reason"] for line in logs if line["event"] == "shim not kept"]
    assert told == ["securechange.key is missing"]


async def test_a_pod_that_does_not_reach_the_mediator_is_not_kept(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    files.file = shim(75)
    async with watching(server, files, tmp_path) as counted:
        await reaches(counted, "mediator_shim_pods", state="unreachable")
        files.file = shim(0)
        await reaches(counted, "mediator_shim_pods", state="kept")
    assert {event["type"] for event in server.events} == {"Normal", "Warning"}


async def test_events_that_are_not_allowed_are_told_once(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    server.refuse_events = True
    files.file = shim(75)
    with capture_logs() as logs:
        async with watching(server, files, tmp_path, check_every=0.05) as counted:
            await reaches(counted, "mediator_shim_pods", state="unreachable")
            files.file = shim(0)
            await reaches(counted, "mediator_shim_pods", state="kept")
    told = [line["reason"] for line in logs if line["event"] == "event not written"]
    assert told == ["may not create events (403)"]


async def test_pods_that_are_not_there_and_containers_that_are_not_in_them_are_told(
    server: ApiServer, files: Files, tmp_path: Path
) -> None:
    server.pods.clear()
    with capture_logs() as logs:
        async with watching(server, files, tmp_path) as counted:
            await reaches(counted, "mediator_shim_watching")
    assert [line["selector"] for line in logs if line["event"] == "no pod matches"] == ["app=sc"]
    server = ApiServer()
    server.add_pod()
    other = replace(SELECTION, container="nginx")
    with capture_logs() as logs:
        async with watching(server, files, tmp_path, selection=other) as counted:
            await reaches(counted, "mediator_shim_watching")
    assert [line["reason"] for line in logs if line["event"] == "shim not kept"] == [
        "it has no container nginx, but server; see shim.container"
    ]


async def test_the_page_shows_metrics_and_whether_pods_are_watched() -> None:
    counted = KeeperMetrics()
    async with served(counted, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{port}"
        async with client.get(f"{url}/readyz") as answer:
            assert answer.status == 503
        counted.watching.set(1)
        async with client.get(f"{url}/readyz") as answer:
            assert answer.status == 200
        async with client.get(f"{url}/metrics") as answer:
            assert 'mediator_shim_pods{state="kept"} 0.0' in await answer.text()


async def test_a_port_that_is_taken_is_told() -> None:
    async with served(KeeperMetrics(), host="127.0.0.1", port=0) as port:
        with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1 port {port}"):
            async with served(KeeperMetrics(), host="127.0.0.1", port=port):
                pass
