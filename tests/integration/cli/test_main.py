"""The command itself, as a process: starting, misuse, and a reader that has gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mediator import Mediator

HEAVY = {"aiohttp", "sqlalchemy", "lxml", "pydantic", "structlog", "tenacity"}


def test_help_imports_none_of_the_heavy_libraries() -> None:
    code = "import sys, mediator.cli.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    imported = set(done.stdout.split())
    assert "typer" in imported
    assert not HEAVY & imported


def test_the_version_is_printed(tmp_path: Path) -> None:
    done = Mediator(tmp_path).cli("--version")
    assert done.returncode == 0
    assert done.stdout.strip().replace(".", "").isalnum()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["chek"], "Did you mean 'check'?", id="command"),
        pytest.param(["run", "x", "--tiket", "y"], "--ticket", id="option"),
        pytest.param(["deliveries", "shwo", "x"], "Did you mean 'show'?", id="command of a group"),
        pytest.param(["deliveries", "list", "--state", "gone"], "succeeded", id="value"),
        pytest.param(["deliveries", "list", "--limit", "0"], "--limit", id="number"),
        pytest.param(["new-key"], "FILE", id="argument left out"),
        pytest.param([], "Usage: mediator", id="nothing at all"),
    ],
)
def test_misuse_is_told_with_what_was_probably_meant(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = Mediator(tmp_path).cli(*arguments)
    assert done.returncode == 64
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_wrong_settings_are_told_line_by_line_with_their_place(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.config.write_text("http: {prot: 1}\nstor: {}\n")
    done = mediator.cli("check")
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        f"{mediator.config}:1",
        f"{mediator.config}:2",
    ]
    assert all(line.startswith("mediator: ") for line in lines)


def test_a_reader_that_has_gone_is_no_error_message(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    for number in range(500):  # more than the 64 KiB that a pipe holds
        mediator.script(f"{'s' * 200}-{number}", "#!/bin/sh\n")
    done = subprocess.run(
        [
            "/bin/bash",
            "-c",
            '"$0" -m mediator check | head -1; exit "${PIPESTATUS[0]}"',
            sys.executable,
        ],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 1, "the pipe did not break, so nothing was tested"
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].split() == ["WHAT", "STATE", "DETAIL"]


def test_a_new_key_is_made_once(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    first = mediator.cli("new-key", "fresh.key")
    assert first.returncode == 0
    made = (tmp_path / "fresh.key").read_text()
    assert made.strip() not in first.stdout + first.stderr
    again = mediator.cli("new-key", "fresh.key")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert (tmp_path / "fresh.key").read_text() == made
