"""The five minutes of docs/tutorial/first-script.md, command by command."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.mediator import REPOSITORY

PAGE = (REPOSITORY / "docs" / "tutorial" / "first-script.md").read_text()
COMMANDS = [
    shlex.split(line)[1:]
    for line in re.findall(r"^ {4}(mediator .*)$", PAGE, re.MULTILINE)
    if "deliveries" not in line
]


def call(home: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mediator", *words],
        capture_output=True,
        check=False,
        text=True,
        cwd=home,
        timeout=60,
    )


def test_each_command_works_in_an_empty_directory_in_the_order_of_the_page(tmp_path: Path) -> None:
    assert [words[0] for words in COMMANDS] == ["new", "check", "run", "watch"]
    for words in COMMANDS[:2]:
        done = call(tmp_path, words)
        assert done.returncode == 0, done.stdout + done.stderr
    done = call(tmp_path, COMMANDS[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<response><condition_result>false</condition_result></response>\n"
    assert "SecureChange would get this answer" in done.stderr


def test_new_tells_the_commands_of_the_page(tmp_path: Path) -> None:
    told = call(tmp_path, COMMANDS[0]).stdout
    for words in COMMANDS[1:]:
        assert f"mediator {shlex.join(words)}" in told
