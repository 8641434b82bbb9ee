"""What `mediator check --kubernetes` finds in a cluster that a test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediator.cli.check_kubernetes import cluster_findings
from mediator.cli.findings import Grade
from mediator.kube.access import KEEPER_RIGHTS, RUNNER_RIGHTS
from mediator.settings.schema import Settings
from tests.support.api_server import write_kubeconfig
from tests.support.job_server import JobServer, job_server

QUOTA = {
    "metadata": {"name": "team"},
    "status": {"used": {"pods": "10"}, "hard": {"pods": "10", "requests.cpu": "2"}},
}
POD = {
    "metadata": {"name": "sc-1", "uid": "u"},
    "spec": {"containers": [{"name": "server"}]},
    "status": {"containerStatuses": [{"name": "server", "state": {"running": {}}}]},
}

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
async def server() -> AsyncIterator[JobServer]:
    async with job_server(JobServer()) as running:
        yield running


async def findings(url: str, directory: Path) -> dict[str, tuple[Grade, str]]:
    """Grade and detail of each part, when both parts use that cluster."""
    kubeconfig = str(write_kubeconfig(directory, url))
    settings = Settings.model_validate(
        {
            "scripts": {"directory": str(directory)},
            "shim": {"kubeconfig": kubeconfig, "namespace": "tos", "selector": "app=sc"},
            "kubernetes": {"enabled": True, "kubeconfig": kubeconfig, "image": "py:3.13"},
        }
    )
    return {one.what: (one.grade, one.detail) for one in await cluster_findings(settings)}


async def test_a_cluster_that_allows_all_is_well(server: JobServer, tmp_path: Path) -> None:
    server.put("pods", POD)
    found = await findings(server.url, tmp_path)
    assert {grade for grade, _ in found.values()} == {Grade.OK}
    assert found["shim: cluster"][1] == f"Kubernetes v1.34.1 at {server.url}"
    assert found["shim: pods"][1] == "sc-1 (container server)"
    assert found["runner: quota"][1] == "none in namespace default"
    for part, rights in (("shim", KEEPER_RIGHTS), ("runner", RUNNER_RIGHTS)):
        assert {f"{part}: {verb} {resource}" for verb, resource in rights} <= found.keys()


async def test_what_is_missing_is_as_bad_as_its_part_says(
    server: JobServer, tmp_path: Path
) -> None:
    server.denied |= {("watch", "pods"), ("create", "pods/exec"), ("create", "secrets")}
    found = await findings(server.url, tmp_path)
    assert found["shim: watch pods"][0] is Grade.WARNING
    assert found["shim: create pods/exec"] == (
        Grade.NOT_ALLOWED,
        "may not create pods/exec in namespace tos; apply deploy/kubernetes-shim/role.yaml there.",
    )
    assert found["runner: watch pods"][0] is Grade.ERROR
    assert found["runner: create secrets"][0] is Grade.ERROR
    assert found["shim: pods"] == (
        Grade.WARNING,
        "no pod in namespace tos has the labels app=sc.",
    )


async def test_quotas_are_shown_where_they_may_be_read(server: JobServer, tmp_path: Path) -> None:
    server.put("resourcequotas", QUOTA)
    found = await findings(server.url, tmp_path)
    assert found["runner: quota"] == (Grade.WARNING, "team: used up: pods 10 of 10")
    denied = 'resourcequotas is forbidden: User "u" cannot list resource "resourcequotas"'
    server.refusals["GET", "resourcequotas"] = (403, denied)
    found = await findings(server.url, tmp_path)
    assert found["runner: quota"] == (
        Grade.OK,
        "not known, since it may not list resourcequotas (403); nothing else needs that right",
    )


async def test_a_cluster_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    found = await findings("http://127.0.0.1:1", tmp_path)
    for part in ("shim", "runner"):
        grade, detail = found[f"{part}: cluster"]
        assert grade is Grade.UNREACHABLE
        assert detail.startswith("the API server cannot be reached (")
