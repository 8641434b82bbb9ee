"""The Dockerfile: what a linter says of it, and that it makes the same image again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.mediator import REPOSITORY
from tests.support.podman import BUILD, SLIM, inspect

DOCKERFILES = [REPOSITORY / "Dockerfile", Path(__file__).with_name("Dockerfile.stand-in")]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_a_linter_has_nothing_to_say(hadolint: Path, dockerfile: Path) -> None:
    done = subprocess.run(
        [str(hadolint), str(dockerfile)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("built")
def test_the_same_sources_make_the_same_image() -> None:
    before = inspect(SLIM)
    done = subprocess.run(
        [str(BUILD), "--no-cache"], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    after = inspect(SLIM)
    assert after["RootFS"]["Layers"] == before["RootFS"]["Layers"]
    assert after["Config"] == before["Config"]


def test_only_what_is_built_from_goes_to_the_builder() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    taken = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    assert taken == {
        *("LICENSE", "README.md", "bash_shim/securechange-shim", "deploy/image"),
        *("deploy/requirements*.txt", "mediator", "pyproject.toml"),
    }
