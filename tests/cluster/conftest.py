"""A cluster that is there already, and a namespace in it for each test."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The file that names the cluster. These tests run inside of its network."""
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        pytest.fail("no cluster: run these tests by `tests/run --cluster`, or set KUBECONFIG")
    return Path(path)


@pytest.fixture(scope="session")
def tools() -> Path:
    """A directory with 3/helm, 3/kubectl, 4/helm and 4/kubectl."""
    path = os.environ.get("MEDIATOR_HELM", "")
    if not path:
        pytest.fail("no Helm: run these tests by `tests/run --cluster`")
    return Path(path)


@pytest.fixture(scope="session")
def kubectl(tools: Path, kubeconfig: Path) -> tuple[str, ...]:
    """The command with the cluster; the older one, which every cluster of these tests answers."""
    return (str(tools / "3" / "kubectl"), f"--kubeconfig={kubeconfig}")


@pytest.fixture
def namespace(kubectl: tuple[str, ...]) -> Iterator[str]:
    """A new one, which is gone after the test with all that is in it."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    yield name
    away = [*kubectl, "delete", "namespace", name, "--wait=false"]
    subprocess.run(away, check=True, capture_output=True)
