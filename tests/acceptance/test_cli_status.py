"""`mediator status`: what an operator sees first, from a real mediator."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mediator as package
from tests.support.conditions import DEADLINE, eventually, eventually_true
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK, gated

FAIL = "#!/bin/sh\nexit 65\n"


@contextmanager
def started(home: Path) -> Iterator[Mediator]:
    made = Mediator(home, settings={"dispatch": {"drain": "60s"}})
    made.script("ok.sh", OK)
    made.script("fail.sh", FAIL)
    made.script("bad.py", "#!/no/such/interpreter\n")
    made.script("gated.py", "#!/usr/bin/env python3\n" + gated(home / "gate", home / "on"))
    with made:
        made.configure({"http": {"port": urlsplit(made.url).port}})
        yield made


@pytest.fixture
def mediator(tmp_path: Path) -> Iterator[Mediator]:
    with started(tmp_path) as mediator:
        yield mediator


@dataclass
class Busy:
    """A mediator that is only looked at: one succeeded, one is dead, one runs."""

    mediator: Mediator
    dead: str


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with started(tmp_path_factory.mktemp("looked")) as mediator:
        mediator.until(mediator.hand_over(Handover(script="ok.sh")), "succeeded")
        dead = mediator.hand_over(Handover(script="fail.sh"))
        mediator.until(dead, "dead")
        mediator.until(mediator.hand_over(Handover(script="gated.py")), "running")
        yield Busy(mediator, dead)


def test_the_document_has_everything_at_a_glance(looked: Busy) -> None:
    shown = looked.mediator.cli("status", "--json")
    assert shown.returncode == 0, shown.stderr
    status = json.loads(shown.stdout)
    assert (status["version"], status["ready"], status["problems"]) == (
        package.__version__,
        True,
        {},
    )
    assert (status["pending"], status["running"], status["dead"]) == (0, 1, 1)
    assert status["oldest_pending_seconds"] is None
    assert status["free_bytes"] > 0
    assert status["slots"] == {
        "trigger": {"running": 1, "slots": 8},
        "interactive": {"running": 0, "slots": 4},
    }
    recent = status["recent"]
    assert (recent["accepted"], recent["attempts"], recent["failed"]) == (3, 2, 1)
    assert 0 <= recent["seconds"] <= status["uptime_seconds"]
    scripts = {script["name"]: script for script in status["scripts"]}
    assert (scripts["ok.sh"]["succeeded"], scripts["ok.sh"]["failed"]) == (1, 0)
    assert scripts["ok.sh"]["last_dead"] is None
    assert (scripts["fail.sh"]["succeeded"], scripts["fail.sh"]["failed"]) == (0, 1)
    assert scripts["fail.sh"]["last_dead"]["delivery"] == looked.dead
    assert "gives up" in scripts["fail.sh"]["last_dead"]["reason"]
    assert not scripts["bad.py"]["ready"]
    assert "/no/such/interpreter" in scripts["bad.py"]["problem"]


def test_a_person_sees_it_once_where_there_is_no_terminal(looked: Busy) -> None:
    shown = looked.mediator.cli("status", "--watch")
    assert shown.returncode == 0, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert f"mediator {package.__version__} at {looked.mediator.url}" in lines
    assert "state ready" in lines
    assert "deliveries 0 pending, 1 running, 1 dead" in lines
    assert "slots trigger 1 of 8, interactive 0 of 4" in lines
    assert any(line.startswith("lately 3 accepted") and "1 failed" in line for line in lines)
    assert "SCRIPT STATE OK FAILED LAST DEAD WHY" in lines
    assert any(line.startswith("fail.sh ready 0 1 ") for line in lines)
    assert any(line.startswith("bad.py not ready 0 0 - ") for line in lines)


async def test_a_mediator_that_shuts_down_is_not_ready(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        await client.hand_over(Handover(script="gated.py"))
        await client.until_running(1)
        mediator.signal(signal.SIGTERM)
        await eventually(
            lambda: client.get("/readyz", token=None), until=lambda answer: answer.status == 503
        )
        shown = mediator.cli("status")
        assert shown.returncode == 1
        assert "not ready" in shown.stdout
        assert "it is shutting down" in shown.stdout
        (mediator.home / "gate").touch()
    mediator.wait()


def test_a_problem_is_named_with_its_part(tmp_path: Path) -> None:
    with Mediator(tmp_path, settings={"store": {"disk_floor": 2**60}}) as mediator:
        shown = mediator.cli("status", "--url", mediator.url)
        document = json.loads(mediator.cli("status", "--json", "--url", mediator.url).stdout)
    assert shown.returncode == 1
    assert list(document["problems"]) == ["disk"]
    assert "store.disk_floor" in document["problems"]["disk"]
    assert "store.disk_floor keeps" in shown.stdout


def test_nobody_there_and_no_token_have_codes_of_their_own(mediator: Mediator) -> None:
    wrong = mediator.home / "wrong.token"
    wrong.write_text("w" * 40)
    wrong.chmod(0o600)
    assert mediator.cli("status", "--token-file", str(wrong)).returncode == 77
    mediator.terminate()
    gone = mediator.cli("status")
    assert (gone.returncode, gone.stdout) == (75, "")
    assert "cannot be reached" in gone.stderr


class Terminal:
    """A command on a terminal of its own, and what that has shown."""

    def __init__(self, mediator: Mediator, *arguments: str) -> None:
        self._end, theirs = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mediator", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=mediator.home,
            env={
                **os.environ,
                "MEDIATOR_CONFIG": str(mediator.config),
                "TERM": "xterm",
                "COLUMNS": "120",
                "LINES": "40",
            },
        )
        os.close(theirs)

    def until(self, part: str, *, times: int = 1) -> None:
        """Read until that was shown so often."""
        deadline = time.monotonic() + DEADLINE
        while self.shown.count(part) < times:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._end], [], [], 0.1)[0]:
                self.shown += os.read(self._end, 65536).decode()

    def interrupt(self) -> int:
        """What Ctrl-C does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=DEADLINE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@contextmanager
def terminal(mediator: Mediator, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal(mediator, *arguments)
    try:
        yield opened
    finally:
        opened.close()


def test_it_looks_again_until_ctrl_c_also_while_the_mediator_is_away(mediator: Mediator) -> None:
    with terminal(mediator, "status", "--watch") as screen:
        screen.until("ok.sh", times=2)
        mediator.terminate()
        screen.until("cannot be reached")
        mediator.start()
        seen = screen.shown.count("fail.sh")
        screen.until("fail.sh", times=seen + 2)
        eventually_true(lambda: not _last_frame(screen).count("cannot be reached"))
        assert screen.interrupt() == 0
        assert "Traceback" not in screen.shown


def _last_frame(screen: Terminal) -> str:
    """The latest that is there whole: the next has begun."""
    screen.until("WHY", times=screen.shown.count("WHY") + 2)
    return screen.shown.split("WHY")[-2]


def test_ctrl_c_tells_what_was_seen_last(mediator: Mediator) -> None:
    with terminal(mediator, "status", "--watch") as screen:
        screen.until("ok.sh")
        mediator.terminate()
        screen.until("cannot be reached")
        assert screen.interrupt() == 75
