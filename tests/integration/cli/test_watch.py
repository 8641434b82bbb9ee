"""`mediator watch`, as a process, while files are saved."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mediator import Mediator


@pytest.fixture
def mediator(tmp_path: Path) -> Mediator:
    made = Mediator(tmp_path)
    (tmp_path / "ticket.xml").write_text("<ticket_info><id>1</id></ticket_info>")
    return made


def python(body: str) -> str:
    return f"#!{sys.executable}\nimport os, sys, time\n{body}\n"


@contextmanager
def watching(mediator: Mediator, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "mediator", "watch", "--config", str(mediator.config), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=mediator.home,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], part: str) -> list[str]:
    """The lines up to one with that part."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if part in line:
            return lines
    raise AssertionError(f"it ended without {part}: {lines}")


def test_it_runs_at_once_and_again_at_every_save(mediator: Mediator) -> None:
    mediator.script("mine.py", python("print('one')"))
    with watching(mediator, "mine", "--ticket", "ticket.xml") as process:
        assert "one\n" in until(process, "the mediator would be done")
        mediator.script("mine.py", python("print('two', sys.stdin.read())"))
        assert "two <ticket_info>" in "".join(until(process, "the mediator would be done"))
        (mediator.home / "ticket.xml").write_text("<ticket_info><id>22</id></ticket_info>")
        assert "<id>22</id>" in "".join(until(process, "the mediator would be done"))
        (mediator.scripts / "beside.py").write_text("x = 1\n")
        until(process, "the mediator would be done")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


def test_what_still_runs_is_stopped_for_a_newer_version(mediator: Mediator) -> None:
    mediator.script("mine.py", python("print('old', flush=True); time.sleep(600)"))
    with watching(mediator, "mine", "--ticket", "ticket.xml") as process:
        until(process, "old")
        mediator.script("mine.py", python("print('new')"))
        assert "new\n" in until(process, "the mediator would be done")


def test_what_is_broken_is_told_and_mended_by_the_next_save(mediator: Mediator) -> None:
    mediator.script("mine.py", "#!/no/such/interpreter\n")
    with watching(mediator, "mine", "--ticket", "ticket.xml") as process:
        until(process, "/no/such/interpreter")
        mediator.script("mine.py", python("print('mended')"))
        assert "mended\n" in until(process, "the mediator would be done")


def test_ctrl_c_ends_a_running_attempt_too(mediator: Mediator) -> None:
    mediator.script("mine.py", python("print('on', flush=True); time.sleep(600)"))
    with watching(mediator, "mine", "--ticket", "ticket.xml") as process:
        until(process, "on\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["gone"], 1, "there is no script 'gone'", id="no such script"),
        pytest.param(["mine", "--ticket", "-"], 64, "name a file", id="standard input"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    mediator: Mediator, arguments: list[str], code: int, said: str
) -> None:
    mediator.script("mine.py", python(""))
    done = mediator.cli("watch", *arguments)
    assert done.returncode == code
    assert said in done.stderr
