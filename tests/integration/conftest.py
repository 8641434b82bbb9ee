"""What the tests of several parts start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediator.kube.client import Cluster, KubernetesClient, connect
from tests.support.api_server import ApiServer, api_server


@pytest.fixture
async def pod_server() -> AsyncIterator[ApiServer]:
    """An API server with one pod, whose commands run here."""
    async with api_server(ApiServer()) as running:
        running.add_pod()
        yield running


@pytest.fixture
async def pod_client(pod_server: ApiServer, tmp_path: Path) -> AsyncIterator[KubernetesClient]:
    cluster = Cluster(kubeconfig=pod_server.kubeconfig(tmp_path), context=None, namespace="tos")
    async with connect(cluster) as connected:
        yield connected
