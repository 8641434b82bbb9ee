"""Programs that read deploy/compose.yaml, fetched once into .venv/compose."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

from tests.support.mediator import REPOSITORY

FILE = REPOSITORY / "deploy" / "compose.yaml"
_TOOLS = REPOSITORY / ".venv" / "compose"
_REQUIREMENTS = REPOSITORY / "tests" / "compose" / "requirements.txt"
_SECONDS = 600
_NOTHING: Mapping[str, str] = MappingProxyType({})


def tool(
    module: str, *arguments: str, environment: Mapping[str, str] = _NOTHING
) -> subprocess.CompletedProcess[str]:
    """Run one, named by its module; a failure is for the caller to look at."""
    _fetch()
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        env={**os.environ, "PYTHONPATH": str(_TOOLS), **environment},
    )


def _fetch() -> None:
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    stamp = _TOOLS / "installed"
    _TOOLS.mkdir(exist_ok=True)
    with _TOOLS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--upgrade")
        target = ("--target", str(_TOOLS), "--require-hashes", "-r", str(_REQUIREMENTS))
        done = subprocess.run(
            [*pip, *target], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        stamp.write_text(wanted)
