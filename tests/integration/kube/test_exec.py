"""One command in a container, through a server that runs it here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediator.kube.client import Cluster, KubernetesClient, KubernetesError, connect
from mediator.kube.exec import PodContainer, execute
from tests.support.api_server import ApiServer, api_server

PLACE = PodContainer(pod="sc-1", container="server")

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server(ApiServer()) as running:
        running.add_pod()
        yield running


@pytest.fixture
async def client(server: ApiServer, tmp_path: Path) -> AsyncIterator[KubernetesClient]:
    cluster = Cluster(kubeconfig=server.kubeconfig(tmp_path), context=None, namespace="tos")
    async with connect(cluster) as connected:
        yield connected


async def test_a_command_that_does_not_end_is_given_up(client: KubernetesClient) -> None:
    with pytest.raises(KubernetesError, match=r"bash did not end there within 0\.2 s"):
        await execute(client, PLACE, ["bash", "-c", "read x"], stdin=b"", seconds=0.2)


async def test_a_command_that_leaves_its_input_unread_has_ended_all_the_same(
    client: KubernetesClient,
) -> None:
    ended = await execute(client, PLACE, ["bash", "-c", "exit 3"], stdin=b"x" * 10**6, seconds=60)
    assert ended.code == 3


async def test_output_without_end_is_cut(client: KubernetesClient) -> None:
    with pytest.raises(KubernetesError, match="says too much"):
        await execute(
            client, PLACE, ["bash", "-c", "while :; do printf %99999s; done"], stdin=b"", seconds=60
        )


async def test_a_connection_that_is_lost_is_told(
    server: ApiServer, client: KubernetesClient
) -> None:
    server.cut_exec = True
    with pytest.raises(KubernetesError, match="the connection to the container was lost"):
        await execute(client, PLACE, ["bash", "-c", "read x"], stdin=b"x", seconds=60)


async def test_a_pod_that_is_gone_is_told(client: KubernetesClient) -> None:
    elsewhere = PodContainer(pod="sc-0", container="server")
    with pytest.raises(KubernetesError, match=r"gone \(404\)"):
        await execute(client, elsewhere, ["bash"], stdin=b"", seconds=60)


async def test_an_api_server_that_is_away_is_told(server: ApiServer, tmp_path: Path) -> None:
    server.url = "http://127.0.0.1:1"
    cluster = Cluster(kubeconfig=server.kubeconfig(tmp_path), context=None, namespace="tos")
    async with connect(cluster) as client:
        with pytest.raises(KubernetesError, match="the API server cannot be reached"):
            await execute(client, PLACE, ["bash"], stdin=b"", seconds=60)
