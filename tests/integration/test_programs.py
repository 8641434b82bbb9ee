"""The programs that a part of tests/run may use are those that it states, and no more."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.mediator import REPOSITORY

PARTS = """
    source deploy/environment.bash
    source tests/support/programs.bash
    root=$PWD
"""


def bash(text: str, *arguments: str) -> str:
    done = subprocess.run(
        ["bash", "-uc", f"{PARTS}{text}", "bash", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_part_states_its_programs() -> None:
    told = subprocess.run(
        [REPOSITORY / "tests" / "run", "--help"], capture_output=True, text=True, check=True
    ).stdout
    parts = re.findall(r"^  ([a-z]+) {2,}", told.partition("parts:")[2], re.MULTILINE)
    assert set(parts) == set(bash('printf "%s\\n" "${!programs[@]}"').split())


def test_a_part_finds_nothing_that_it_does_not_state(tmp_path: Path) -> None:
    bash('offer_programs layers "$1/layers" && offer_programs integration "$1/this"', str(tmp_path))
    assert shutil.which("bash", path=tmp_path / "layers")
    assert not shutil.which("git", path=tmp_path / "layers")
    assert shutil.which("git", path=tmp_path / "this")


def test_a_missing_program_is_named_with_its_package() -> None:
    needs = ["none-such|/none/such/*=first-package", "none-either=other-package", "bash=bash"]
    done = subprocess.run(
        [
            "bash",
            "-c",
            f'{PARTS}install_packages() {{ return 1; }}; need_commands "$@"',
            "x",
            *needs,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 1
    missing, packages = "none-such|/none/such/* none-either", "first-package other-package"
    assert done.stderr == f"x: this needs {missing}: install the packages {packages}\n"


@pytest.mark.skipif(
    "bookworm" not in Path("/etc/os-release").read_text(), reason="it is Debian 12 that is asked"
)
def test_the_programs_that_are_always_there_are_those_of_essential_packages() -> None:
    stated = set(bash('printf "%s\\n" "${essential[@]}"').split())
    packages = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Essential} ${Package}\\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    essential = [line.removeprefix("yes ") for line in packages.splitlines() if line[:4] == "yes "]
    files = subprocess.run(
        ["dpkg-query", "--listfiles", *essential], capture_output=True, text=True, check=True
    ).stdout
    found = set(re.findall(r"^(?:/usr)?/s?bin/([^/\n]+)$", files, re.MULTILINE))
    versioned = {name for name in found if re.fullmatch(r"perl\d.*", name)}
    # The one that they bring under another name, by Debian's alternatives.
    assert stated == found - versioned | {"which"}
