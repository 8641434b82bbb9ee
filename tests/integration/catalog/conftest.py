"""For every test of the catalog with a real directory."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The scripts directory."""
    directory = tmp_path / "scripts"
    directory.mkdir()
    return directory
