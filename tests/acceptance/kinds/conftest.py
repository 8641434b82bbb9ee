"""A mediator and a pod for the tests of one file, and the environment of Tufin's SDK."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.kinds.pod import Pod
from tests.support.mediator import REPOSITORY, Mediator

_REQUIREMENTS = REPOSITORY / "tests" / "sdk" / "requirements.txt"
_ENVIRONMENT = REPOSITORY / ".venv" / "sdk"


@pytest.fixture(scope="module")
def mediator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mediator]:
    """One with the SCRIPTS of the test's file. The same ticket may be sent again and again."""
    settings = {"dispatch": {"deduplicate": "0s"}}
    mediator = Mediator(tmp_path_factory.mktemp("mediator"), settings=settings)
    for name, text in request.module.SCRIPTS.items():
        mediator.script(name, text, mode=0o755 if text.startswith("#!") else 0o644)
    with mediator:
        yield mediator


@pytest.fixture(scope="module")
def pod(mediator: Mediator, tmp_path_factory: pytest.TempPathFactory) -> Pod:
    """The pod that this mediator serves."""
    return Pod.of(mediator, tmp_path_factory.mktemp("pod"))


@pytest.fixture(scope="session")
def sdk() -> Path:
    """The Python that has Tufin's SDK: what an administrator writes into a script's first line.

    Made once and kept as long as the requirements stay as they are; processes that run tests at
    the same time wait for the one that makes it.
    """
    python = _ENVIRONMENT / "bin" / "python"
    stamp = _ENVIRONMENT / "installed"
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    _ENVIRONMENT.parent.mkdir(exist_ok=True)
    with _ENVIRONMENT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            _call(sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT))
            pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input")
            _call(*pip, "install", "--require-hashes", "-r", str(_REQUIREMENTS))
            stamp.write_text(wanted)
    return python


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
