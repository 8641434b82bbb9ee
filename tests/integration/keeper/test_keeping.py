"""A pod is looked at and put right, through a server that runs an exec's command here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiClient

from mediator.keeper.execution import Place, execute
from mediator.keeper.pods import Selection
from mediator.keeper.protocol import Drift, PodError, PodFile
from mediator.keeper.sync import Report, Wanted, each_pod
from mediator.kube.client import Cluster, api_client
from tests.support.api_server import ApiServer, api_server

SELECTION = Selection(namespace="tos", selector="app=sc", container=None)
PLACE = Place(namespace="tos", pod="sc-1", container="server")
SHIM = PodFile(name="securechange-shim", data=b"echo tested; exit 75\n" * 5000, mode=0o755)
KEY = PodFile(name="securechange-shim.key", data=b"k" * 40 + b"\n", mode=0o600)

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server(ApiServer()) as running:
        running.add_pod()
        yield running


@pytest.fixture
async def api(server: ApiServer, tmp_path: Path) -> AsyncIterator[ApiClient]:
    cluster = Cluster(kubeconfig=server.kubeconfig(tmp_path), context=None, namespace="tos")
    async with api_client(cluster) as client:
        yield client


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    directory = tmp_path / "scripts"
    directory.mkdir()
    return Wanted(directory=str(directory), files=(SHIM, KEY), shim=SHIM.name, seconds=60)


async def reports(api: ApiClient, wanted: Wanted, *, write: bool) -> list[Report]:
    return [report async for report in each_pod(api, SELECTION, wanted, write=write)]


async def test_a_pod_without_files_gets_them_and_is_then_as_it_should_be(
    api: ApiClient, wanted: Wanted
) -> None:
    (before,) = await reports(api, wanted, write=False)
    assert [one.drift for one in before.differences] == [Drift.MISSING, Drift.MISSING]
    assert before.drifted
    (put,) = await reports(api, wanted, write=True)
    assert put.written
    for file in wanted.files:
        path = Path(wanted.directory) / file.name
        assert path.read_bytes() == file.data
        assert path.stat().st_mode & 0o777 == file.mode
    (after,) = await reports(api, wanted, write=False)
    assert after.differences == ()
    assert after.self_test is not None
    assert (after.self_test.code, after.self_test.lines) == (75, ("tested",))


async def test_no_command_line_holds_a_file(
    server: ApiServer, api: ApiClient, wanted: Wanted
) -> None:
    await reports(api, wanted, write=True)
    shown = " ".join(" ".join(command) for command in server.commands)
    assert "kkkk" not in shown
    assert len(shown) < 1000


async def test_without_a_digest_the_bytes_are_compared(
    server: ApiServer, api: ApiClient, wanted: Wanted, tmp_path: Path
) -> None:
    await reports(api, wanted, write=True)
    poor = tmp_path / "poor"
    poor.mkdir()
    (poor / "bash").symlink_to("/bin/bash")
    server.environment = {"PATH": str(poor)}
    (Path(wanted.directory) / KEY.name).write_bytes(b"x" * 41)
    (report,) = await reports(api, wanted, write=False)
    assert [(one.file.name, one.drift) for one in report.differences] == [(KEY.name, Drift.CONTENT)]
    (report,) = await reports(api, wanted, write=True)
    assert report.drifted
    assert report.problem.startswith("the container has no chmod and no mv")


async def test_a_pod_in_which_nothing_can_be_run_is_told_and_the_others_are_kept(
    server: ApiServer, api: ApiClient, wanted: Wanted
) -> None:
    server.add_pod("sc-2")
    server.pods[0]["metadata"]["deletionTimestamp"] = "2026-01-31T03:12:44Z"
    first, second = await reports(api, wanted, write=True)
    assert first.problem == "it is being deleted"
    assert second.written


async def test_no_pod_at_all_is_an_error(server: ApiServer, api: ApiClient, wanted: Wanted) -> None:
    server.pods.clear()
    with pytest.raises(PodError, match=r"no pod in namespace tos has the labels app=sc"):
        await reports(api, wanted, write=False)


async def test_a_command_that_does_not_end_is_given_up(api: ApiClient) -> None:
    with pytest.raises(PodError, match=r"bash did not end there within 0\.2 s"):
        await execute(api, PLACE, ["bash", "-c", "read x"], stdin=b"", seconds=0.2)


async def test_a_command_that_leaves_its_input_unread_has_ended_all_the_same(
    api: ApiClient,
) -> None:
    ended = await execute(api, PLACE, ["bash", "-c", "exit 3"], stdin=b"x" * 10**6, seconds=60)
    assert ended.code == 3


async def test_output_without_end_is_cut(api: ApiClient) -> None:
    with pytest.raises(PodError, match="says too much"):
        await execute(
            api, PLACE, ["bash", "-c", "while :; do printf %99999s; done"], stdin=b"", seconds=60
        )


async def test_a_connection_that_is_lost_is_told(server: ApiServer, api: ApiClient) -> None:
    server.cut_exec = True
    with pytest.raises(PodError, match="the connection to the container was lost"):
        await execute(api, PLACE, ["bash", "-c", "read x"], stdin=b"x", seconds=60)


async def test_a_pod_that_is_gone_is_told(api: ApiClient) -> None:
    elsewhere = Place(namespace="tos", pod="sc-0", container="server")
    with pytest.raises(PodError, match=r"gone \(404\)"):
        await execute(api, elsewhere, ["bash"], stdin=b"", seconds=60)


async def test_an_api_server_that_is_away_is_told(server: ApiServer, tmp_path: Path) -> None:
    server.url = "http://127.0.0.1:1"
    cluster = Cluster(kubeconfig=server.kubeconfig(tmp_path), context=None, namespace="tos")
    async with api_client(cluster) as api:
        with pytest.raises(PodError, match="the API server cannot be reached"):
            await execute(api, PLACE, ["bash"], stdin=b"", seconds=60)
