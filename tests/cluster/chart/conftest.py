"""A release of the chart to be: what it needs in its namespace, and values for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import IMAGE, Load, Namespace, Release, secrets
from tests.support.helm import CHART

HELLO = """\
#!/bin/bash
# One that has to have its time.
sleep 0.2
printf 'hello %s\\n' "$SCW_EVENT"
"""


@pytest.fixture(scope="session")
def tools() -> Path:
    """A directory with 3/helm and 4/helm."""
    path = os.environ.get("TEST_HELM", "")
    if not path:
        pytest.fail("no Helm: run these tests by `tests/run --cluster`")
    return Path(path)


@pytest.fixture(params=["3", "4"], ids=["helm3", "helm4"])
def version(request: pytest.FixtureRequest) -> str:
    """Each version of Helm."""
    found: str = request.param
    return found


@pytest.fixture
def space(namespace: str, kubectl: tuple[str, ...]) -> Namespace:
    """The namespace of the test, with the keys."""
    space = Namespace(name=namespace, kubectl=kubectl)
    space.secret("mediator-auth", secrets())
    return space


@pytest.fixture
def release(space: Namespace, version: str, tools: Path, kubeconfig: Path) -> Release:
    """A release that is not installed yet."""
    return Release(helm=tools / version / "helm", kubeconfig=kubeconfig, namespace=space)


@pytest.fixture
def load(space: Namespace) -> Load:
    """Tickets from a pod."""
    return Load(namespace=space)


@pytest.fixture
def values(space: Namespace) -> dict[str, Any]:
    """Values of a release with one script; the address of its Service is known before."""
    address = space.free_address()
    return {
        "image": {"repository": IMAGE, "tag": "slim", "pullPolicy": "Never"},
        "auth": {"existingSecret": "mediator-auth"},
        "service": {"clusterIP": address},
        "scripts": {"inline": {"hello.sh": HELLO}},
        "config": {"dispatch": {"drain": "10s", "grace": "1s"}},
        "helmTest": {
            "script": "hello.sh",
            "expect": "hello TEST",
            "url": f"http://{address}:8080",
        },
    }


@pytest.fixture
def url(values: dict[str, Any]) -> str:
    """Where pods reach the mediator."""
    found: str = values["helmTest"]["url"]
    return found


@pytest.fixture
def disk(space: Namespace, tmp_path: Path) -> Iterator[None]:
    """A volume for SQLite's file, where the cluster makes none by itself."""
    if space.get("storageclass")["items"]:
        yield
        return
    state = tmp_path / "volume"
    state.mkdir()
    state.chmod(0o777)  # volumes of this type are not given to the pod's user
    name = f"mediator-{space.name}"
    space.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(state)},
                "claimRef": {"namespace": space.name, "name": "mediator"},
            },
        }
    )
    yield
    space.must("delete", "persistentvolume", name, "--wait=false")


@pytest.fixture
def previous(release: Release, tmp_path: Path) -> Path:
    """The chart as it was in a version before."""
    command = ["package", str(CHART), "--version", "0.0.1", "--destination", str(tmp_path)]
    subprocess.run([str(release.helm), *command], check=True, capture_output=True)
    return tmp_path / "mediator-0.0.1.tgz"
