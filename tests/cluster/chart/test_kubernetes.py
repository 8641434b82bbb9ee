"""Scripts that run as Jobs, and the shim kept in SecureChange's pod, by the rights of the chart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.cluster.chart.outcomes import until_done
from tests.support.cluster import IMAGE, Load, Namespace, Release
from tests.support.conditions import eventually_true

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("disk")]

DIRECTORY = "/opt/tufin/data/securechange/scripts"
LABELS = {"app": "securechange"}
KEEPER = "deployment/mediator-shim-keeper"


@pytest.fixture
def tos(space: Namespace) -> Iterator[Namespace]:
    """Another namespace, with a pod that looks like SecureChange's."""
    name = f"{space.name}-tos"
    space.must("create", "namespace", name)
    made = replace(space, name=name)
    made.apply(_securechange())
    made.must("rollout", "status", "deployment/securechange", "--timeout=60s")
    yield made
    space.must("delete", "namespace", name, "--wait=false")


def _securechange() -> dict[str, Any]:
    container = {
        "name": "server",
        "image": f"{IMAGE}:test",
        "imagePullPolicy": "Never",
        "command": ["bash", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"],
        "volumeMounts": [{"name": "scripts", "mountPath": DIRECTORY}],
    }
    pod = {
        "containers": [container],
        "securityContext": {"fsGroup": 65532},
        "volumes": [{"name": "scripts", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 1,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "securechange"},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }


@pytest.fixture
def full(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with the image that has what Kubernetes needs."""
    return {**values, "image": {**values["image"], "tag": "test"}}


def test_tickets_run_as_jobs_by_the_role_of_the_chart(
    release: Release, space: Namespace, full: dict[str, Any], load: Load, url: str
) -> None:
    config = {"dispatch": {**full["config"]["dispatch"], "runner": "kubernetes"}}
    release.install({**full, "jobs": {"enabled": True}, "config": config})
    load.start(url=url, script="hello", limit=4)
    load.wait()
    until_done(space, load)
    assert len(_jobs(space)) >= 4
    eventually_true(lambda: not space.get("jobs")["items"])


def _jobs(space: Namespace) -> set[str]:
    """Every Job that made a pod, also those that are gone."""
    events = space.get("events", "--field-selector=involvedObject.kind=Job")["items"]
    return {
        event["involvedObject"]["name"] for event in events if event["reason"] == "SuccessfulCreate"
    }


def test_the_keeper_puts_the_shim_into_securechanges_pod_and_back(
    release: Release, space: Namespace, tos: Namespace, full: dict[str, Any], url: str
) -> None:
    config = {**full["config"], "shim": {"selector": "app=securechange", "url": url}}
    keeper = {"enabled": True, "namespace": tos.name}
    release.install({**full, "shimKeeper": keeper, "config": config})
    eventually_true(lambda: "securechange-shim.key" in _files(tos))
    assert {"hello.sh", "securechange-shim", "securechange-shim.conf"} <= _files(tos)
    told = space.must("exec", KEEPER, "--", "mediator", "shim", "verify")
    assert "all files are as they should be" in told
    (before,) = _running(tos)
    tos.must("delete", "pod", before, "--wait=false")
    eventually_true(lambda: _running(tos) not in ([], [before]))
    eventually_true(lambda: "securechange-shim.key" in _files(tos))
    for what in (["create", "pods"], ["get", "secrets"], ["delete", "pods"]):
        account = f"system:serviceaccount:{space.name}:mediator-shim-keeper"
        asked = tos.call("auth", "can-i", *what, f"--as={account}")
        assert asked.stdout.strip() == "no"


def _running(tos: Namespace) -> list[str]:
    """Names of the pods that are ready and stay."""
    return [
        pod["metadata"]["name"]
        for pod in tos.get("pods", "--selector=app=securechange")["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": False}]))
    ]


def _files(tos: Namespace) -> set[str]:
    """What is in the only pod that runs, none while there is none."""
    found: set[str] = set()
    for pod in _running(tos):
        found |= set(tos.call("exec", pod, "--", "ls", DIRECTORY).stdout.split())
    return found
