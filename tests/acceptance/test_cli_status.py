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
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mediator as package
from tests.support.conditions import DEADLINE, eventually, eventually_true
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK, gated

FAIL = "#!/bin/sh\nexit 65\n"


@pytest.fixture
def mediator(tmp_path: Path) -> Iterator[Mediator]:
    made = Mediator(tmp_path)
    made.script("ok.sh", OK)
    made.script("fail.sh", FAIL)
    made.script("bad.py", "#!/no/such/interpreter\n")
    made.script("gated.py", "#!/usr/bin/env python3\n" + gated(tmp_path / "gate", tmp_path / "on"))
    with made:
        made.configure({"http": {"port": urlsplit(made.url).port}})
        yield made


async def busy(client: Client) -> str:
    """One succeeded, one dead, one runs; the id of the dead one."""
    done = await client.hand_over(Handover(script="ok.sh"))
    await client.until(done.delivery, "succeeded")
    dead = await client.hand_over(Handover(script="fail.sh"))
    await client.until(dead.delivery, "dead")
    await client.hand_over(Handover(script="gated.py"))
    await client.until_running(1)
    return dead.delivery


async def test_the_document_has_everything_at_a_glance(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        dead = await busy(client)
        shown = mediator.cli("status", "--json")
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
    assert scripts["fail.sh"]["last_dead"]["delivery"] == dead
    assert "gives up" in scripts["fail.sh"]["last_dead"]["reason"]
    assert not scripts["bad.py"]["ready"]
    assert "/no/such/interpreter" in scripts["bad.py"]["problem"]


async def test_a_person_sees_it_once_where_there_is_no_terminal(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        await busy(client)
        shown = mediator.cli("status", "--watch")
    assert shown.returncode == 0, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert f"mediator {package.__version__} at {mediator.url}" in lines
    assert "state ready" in lines
    assert "deliveries 0 pending, 1 running, 1 dead" in lines
    assert "slots trigger 1 of 8, interactive 0 of 4" in lines
    assert any(line.startswith("lately 3 accepted") and "1 failed" in line for line in lines)
    assert "SCRIPT STATE OK FAILED LAST DEAD WHY" in lines
    assert any(line.startswith("fail.sh ready 0 1 ") for line in lines)
    assert any(line.startswith("bad.py not ready 0 0 - ") for line in lines)


async def test_a_mediator_that_shuts_down_is_not_ready(mediator: Mediator) -> None:
    async with Client(mediator.url) as client:
        await busy(client)
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
    screen.until("WHY", times=screen.shown.count("WHY") + 1)
    return screen.shown.rpartition("WHY")[2]


def test_ctrl_c_tells_what_was_seen_last(mediator: Mediator) -> None:
    with terminal(mediator, "status", "--watch") as screen:
        screen.until("ok.sh")
        mediator.terminate()
        screen.until("cannot be reached")
        assert screen.interrupt() == 75
