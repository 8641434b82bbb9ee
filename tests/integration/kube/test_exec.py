"""One command in a container, through a server that runs it here."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.kube.client import Cluster, KubernetesClient, KubernetesError, connect
from mediator.kube.exec import PodContainer, execute
from tests.support.api_server import ApiServer

PLACE = PodContainer(pod="sc-1", container="server")

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_a_command_that_does_not_end_is_given_up(pod_client: KubernetesClient) -> None:
    with pytest.raises(KubernetesError, match=r"bash did not end there within 0\.2 s"):
        await execute(pod_client, PLACE, ["bash", "-c", "read x"], stdin=b"", seconds=0.2)


async def test_a_command_that_leaves_its_input_unread_has_ended_all_the_same(
    pod_client: KubernetesClient,
) -> None:
    ended = await execute(
        pod_client, PLACE, ["bash", "-c", "exit 3"], stdin=b"x" * 10**6, seconds=60
    )
    assert ended.code == 3


async def test_output_without_end_is_cut(pod_client: KubernetesClient) -> None:
    with pytest.raises(KubernetesError, match="says too much"):
        await execute(
            pod_client,
            PLACE,
            ["bash", "-c", "while :; do printf %99999s; done"],
            stdin=b"",
            seconds=60,
        )


async def test_a_connection_that_is_lost_is_told(
    pod_server: ApiServer, pod_client: KubernetesClient
) -> None:
    pod_server.cut_exec = True
    with pytest.raises(KubernetesError, match="the connection to the container was lost"):
        await execute(pod_client, PLACE, ["bash", "-c", "read x"], stdin=b"x", seconds=60)


async def test_a_pod_that_is_gone_is_told(pod_client: KubernetesClient) -> None:
    elsewhere = PodContainer(pod="sc-0", container="server")
    with pytest.raises(KubernetesError, match=r"gone \(404\)"):
        await execute(pod_client, elsewhere, ["bash"], stdin=b"", seconds=60)


async def test_an_api_server_that_is_away_is_told(pod_server: ApiServer, tmp_path: Path) -> None:
    pod_server.url = "http://127.0.0.1:1"
    cluster = Cluster(kubeconfig=pod_server.kubeconfig(tmp_path), context=None, namespace="tos")
    async with connect(cluster) as pod_client:
        with pytest.raises(KubernetesError, match="the API server cannot be reached"):
            await execute(pod_client, PLACE, ["bash"], stdin=b"", seconds=60)
