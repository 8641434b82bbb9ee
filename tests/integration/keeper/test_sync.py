"""A pod is looked at and put right, through a server that runs an exec's command here."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.keeper.pods import Selection
from mediator.keeper.protocol import Drift, PodError, PodFile
from mediator.keeper.sync import DesiredFiles, Report, each_pod
from mediator.kube.client import KubernetesClient
from tests.support.api_server import ApiServer

SELECTION = Selection(selector="app=sc", container=None)
SHIM = PodFile(name="securechange-shim", data=b"echo tested; exit 75\n" * 5000, mode=0o755)
KEY = PodFile(name="securechange-shim.key", data=b"k" * 40 + b"\n", mode=0o600)

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
def desired(tmp_path: Path) -> DesiredFiles:
    directory = tmp_path / "scripts"
    directory.mkdir()
    return DesiredFiles(directory=str(directory), files=(SHIM, KEY), shim=SHIM.name, seconds=60)


async def reports(
    pod_client: KubernetesClient, desired: DesiredFiles, *, write: bool
) -> list[Report]:
    return [report async for report in each_pod(pod_client, SELECTION, desired, write=write)]


async def test_a_pod_without_files_gets_them_and_is_then_as_it_should_be(
    pod_client: KubernetesClient, desired: DesiredFiles
) -> None:
    (before,) = await reports(pod_client, desired, write=False)
    assert [one.drift for one in before.differences] == [Drift.MISSING, Drift.MISSING]
    assert before.drifted
    (put,) = await reports(pod_client, desired, write=True)
    assert put.written
    for file in desired.files:
        path = Path(desired.directory) / file.name
        assert path.read_bytes() == file.data
        assert path.stat().st_mode & 0o777 == file.mode
    (after,) = await reports(pod_client, desired, write=False)
    assert after.differences == ()
    assert after.self_test is not None
    assert (after.self_test.code, after.self_test.lines) == (75, ("tested",))


async def test_no_command_line_holds_a_file(
    pod_server: ApiServer, pod_client: KubernetesClient, desired: DesiredFiles
) -> None:
    await reports(pod_client, desired, write=True)
    shown = " ".join(" ".join(command) for command in pod_server.commands)
    assert "kkkk" not in shown
    assert len(shown) < 1000


async def test_without_a_digest_the_bytes_are_compared(
    pod_server: ApiServer, pod_client: KubernetesClient, desired: DesiredFiles, tmp_path: Path
) -> None:
    await reports(pod_client, desired, write=True)
    poor = tmp_path / "poor"
    poor.mkdir()
    (poor / "bash").symlink_to("/bin/bash")
    pod_server.environment = {"PATH": str(poor)}
    (Path(desired.directory) / KEY.name).write_bytes(b"x" * 41)
    (report,) = await reports(pod_client, desired, write=False)
    assert [(one.file.name, one.drift) for one in report.differences] == [(KEY.name, Drift.CONTENT)]
    (report,) = await reports(pod_client, desired, write=True)
    assert report.drifted
    assert report.problem.startswith("the container has no chmod and no mv")


async def test_a_pod_in_which_nothing_can_be_run_is_told_and_the_others_are_kept(
    pod_server: ApiServer, pod_client: KubernetesClient, desired: DesiredFiles
) -> None:
    pod_server.add_pod("sc-2")
    pod_server.pods[0]["metadata"]["deletionTimestamp"] = "2026-01-31T03:12:44Z"
    first, second = await reports(pod_client, desired, write=True)
    assert first.problem == "it is being deleted"
    assert second.written


async def test_no_pod_at_all_is_an_error(
    pod_server: ApiServer, pod_client: KubernetesClient, desired: DesiredFiles
) -> None:
    pod_server.pods.clear()
    with pytest.raises(PodError, match=r"no pod in namespace tos has the labels app=sc"):
        await reports(pod_client, desired, write=False)
