"""The image, built once, and what looks at its Dockerfile."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mediator import REPOSITORY
from tests.support.podman import BUILD, FULL, SLIM

_TOOLS = REPOSITORY / ".venv" / "image"
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_SECONDS = 900
"""For two targets, with everything to be fetched."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both targets of the Dockerfile; processes that run tests at the same time wait for one."""
    lock = tmp_path_factory.getbasetemp().parent / "image.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(
            [str(BUILD)], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=[SLIM, FULL], ids=["slim", "full"])
def image(request: pytest.FixtureRequest) -> str:
    """Each of the two."""
    request.getfixturevalue("built")
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def hadolint() -> Path:
    """The command, fetched once into .venv/image."""
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    stamp = _TOOLS / "installed"
    _TOOLS.mkdir(exist_ok=True)
    with _TOOLS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            _fetch()
            stamp.write_text(wanted)
    return _TOOLS / "bin" / "hadolint"


def _fetch() -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--upgrade")
    wanted = ("--target", str(_TOOLS), "--require-hashes", "-r", str(_REQUIREMENTS))
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
