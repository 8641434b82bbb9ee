"""Helm 3 and 4 and Kubernetes' schemas, fetched once into .venv/helm."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helm import REPOSITORY, SCENARIOS, Helm, Manifest

_HERE = Path(__file__).parent
_TOOLS = REPOSITORY / ".venv" / "helm"


@pytest.fixture(scope="session")
def tools() -> Path:
    """A directory with 3/helm, 4/helm, 4/kubectl and schemas/bin/python.

    Kept as long as what names them stays as it is; processes that run tests at the same time wait
    for the one that makes it.
    """
    sources = [_HERE / name for name in ("get-helm", "helm.txt", "requirements.txt")]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = _TOOLS / "installed"
    _TOOLS.mkdir(exist_ok=True)
    with _TOOLS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            _fetch()
            stamp.write_text(wanted)
    return _TOOLS


def _fetch() -> None:
    for version in ("3", "4"):
        _call(str(_HERE / "get-helm"), str(_TOOLS / version), version)
    schemas = _TOOLS / "schemas"
    _call(sys.executable, "-m", "venv", "--clear", str(schemas))
    pip = (str(schemas / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
    _call(*pip, "install", "--require-hashes", "-r", str(_HERE / "requirements.txt"))


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="session", params=["3", "4"], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tools: Path) -> Helm:
    """Each version of Helm."""
    return Helm(program=tools / request.param / "helm")


@pytest.fixture(scope="session")
def helm3(tools: Path) -> Helm:
    """Helm 3."""
    return Helm(program=tools / "3" / "helm")


@pytest.fixture(scope="session")
def helm4(tools: Path) -> Helm:
    """Helm 4, where one version is enough."""
    return Helm(program=tools / "4" / "helm")


@pytest.fixture(params=SCENARIOS, ids=lambda path: path.stem.removesuffix("-values"))
def scenario(request: pytest.FixtureRequest) -> Path:
    """Each file of values in the chart's `ci`."""
    found: Path = request.param
    return found


@pytest.fixture
def rendered(helm4: Helm, scenario: Path) -> list[Manifest]:
    """What each of them makes."""
    return helm4.template(scenario)
