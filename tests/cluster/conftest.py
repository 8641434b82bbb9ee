"""A cluster that is there already, and a namespace in it for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_LONGEST = 300.0
"""Seconds for a test that does not state its own: pods start in seconds, and many of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests in a cluster more time than others."""
    for item in items:
        if item.path.is_relative_to(_HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_LONGEST))


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The file that names the cluster. These tests run inside of its network."""
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        pytest.fail("no cluster: run these tests by `tests/run --cluster`, or set KUBECONFIG")
    return Path(path)


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> tuple[str, ...]:
    """The command, for this cluster: Helm 3's is the one that old clusters know."""
    fetched = Path(os.environ.get("TEST_HELM", "")) / "3" / "kubectl"
    found = str(fetched) if fetched.is_file() else shutil.which("kubectl")
    if found is None:
        pytest.fail("no kubectl: run these tests by `tests/run --cluster`")
    return (found, f"--kubeconfig={kubeconfig}")


@pytest.fixture
def namespace(kubectl: tuple[str, ...]) -> Iterator[str]:
    """A new one, which goes after the test with all that is in it."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    yield name
    away = [*kubectl, "delete", "namespace", name, "--wait=false"]
    subprocess.run(away, check=True, capture_output=True)
