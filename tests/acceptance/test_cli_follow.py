"""An author follows own runs from a shell, against a real mediator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.mediator import Mediator

TICKET = "<ticket_info><id>4711</id></ticket_info>"
STEPS = """#!/usr/bin/env python3
import os, sys, time
print("first \\x1b[2J", flush=True)
print("warned", file=sys.stderr, flush=True)
while not os.path.exists(os.path.join(os.path.dirname(os.path.dirname(__file__)), sys.argv[1])):
    time.sleep(0.01)
print("last")
"""


@contextmanager
def started(home: Path) -> Iterator[Mediator]:
    made = Mediator(home, settings={"dispatch": {"drain": "100ms"}})
    made.script("steps.py", STEPS)
    made.script("listed.py", STEPS)
    made.script("fail.sh", "#!/bin/sh\necho sorry >&2\nexit 65\n")
    with made:
        made.configure({"http": {"port": urlsplit(made.url).port}})
        yield made


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """For tests that follow deliveries of their own, among those of others."""
    with started(tmp_path_factory.mktemp("mediator")) as mediator:
        yield mediator


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mediator]:
    """For a test that stops it."""
    with started(tmp_path) as mediator:
        yield mediator


def send(mediator: Mediator, script: str, *arguments: str) -> str:
    done = mediator.cli("send", script, "--ticket", "-", "--", *arguments, stdin=TICKET)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def following(mediator: Mediator, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "mediator", "deliveries", *arguments, "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=mediator.home,
        env={**os.environ, "MEDIATOR_CONFIG": str(mediator.config)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_show_passes_on_what_the_script_writes_while_it_runs(mediator: Mediator) -> None:
    delivery = send(mediator, "steps", "shown-gate")
    with following(mediator, "show", delivery) as process:
        assert line_of(process) == "first \\x1b[2J\n"
        (mediator.home / "shown-gate").touch()
        rest, told = process.communicate(timeout=60)
        assert process.returncode == 0
    assert rest == "last\n"
    assert "warned\n" in told
    assert "mediator: attempt 1: running\n" in told
    assert told.endswith(
        "mediator: attempt 1: ok, exit code 0\nmediator: the delivery is succeeded\n"
    )


def test_show_of_what_has_ended_tells_how(mediator: Mediator) -> None:
    delivery = send(mediator, "fail")
    with following(mediator, "show", delivery, "--json") as process:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert events[-1]["event"] == "end"
    assert events[-1]["data"]["state"] == "dead"
    assert [event["data"]["text"] for event in events if event["event"] == "stderr"] == ["sorry\n"]


def test_show_says_when_the_mediator_goes_down_first(own: Mediator) -> None:
    delivery = send(own, "steps", "never")
    with following(own, "show", delivery) as process:
        line_of(process)
        own.terminate()
        _, told = process.communicate(timeout=60)
        assert process.returncode == 75
    assert "ended the connection before the delivery" in told


def test_show_of_what_is_not_there_fails(mediator: Mediator) -> None:
    done = mediator.cli("deliveries", "show", "none", "--follow")
    assert done.returncode == 1
    assert done.stdout == ""


def test_list_goes_on_with_new_deliveries_and_changes(mediator: Mediator) -> None:
    old = send(mediator, "listed", "listed-gate")
    send(mediator, "fail", "unlisted")
    with following(mediator, "list", "--script", "listed.py", "--json") as process:
        first = json.loads(line_of(process))
        assert first["id"] == old
        (mediator.home / "listed-gate").touch()
        changed = json.loads(line_of(process))
        while changed["state"] == "running":  # it had only been pending at the first look
            changed = json.loads(line_of(process))
        assert (changed["id"], changed["state"]) == (old, "succeeded")
        new = send(mediator, "listed", "listed-gate", "another")
        assert json.loads(line_of(process))["id"] == new
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


def test_list_has_lines_for_people_and_waits_for_a_mediator_that_is_away(
    own: Mediator,
) -> None:
    one = send(own, "fail")
    with following(own, "list") as process:
        while "dead" not in (line := line_of(process)):
            assert one in line
        assert "fail.sh" in line
        own.terminate()
        assert process.stderr is not None
        assert "Trying again until it can be" in process.stderr.readline()
        own.start()
        assert (two := send(own, "fail")) in line_of(process)
        assert two != one


def test_a_wrong_filter_is_a_wrong_command(mediator: Mediator) -> None:
    done = mediator.cli("deliveries", "list", "--since", "yesterday", "--follow")
    assert done.returncode == 64
