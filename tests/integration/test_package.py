from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.mediator import REPOSITORY, SHIM


def test_the_wheel_brings_along_what_is_no_module(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as contents:
        names = set(contents.namelist())
        assert contents.read("mediator/shim/securechange-shim") == SHIM.read_bytes()
    assert "mediator/storage/migrations/env.py" in names
    assert "mediator/storage/migrations/versions/v0001_deliveries.py" in names
    assert "mediator/runners/launcher.py" in names
    for name in ("templates/base.html", "static/console.css", "static/console.js"):
        assert f"mediator/web/console/{name}" in names
    assert not any(name.startswith(("tests/", "docs/")) for name in names)
