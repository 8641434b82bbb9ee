"""How many tickets a second are on disk and answered, beside Debian's `webhook`, which keeps none.

    python -m tests.benchmarks.intake [--count 6000] [--connections 16] [--rounds 3]

Signed hand-overs of 2 kB over HTTP, made beforehand and sent from another process, in alternating
rounds: to a mediator whose slots are taken, so that nothing else runs beside intake; to a mediator
that runs every script as it comes; and to `webhook` (`apt-get install webhook`) with an
asynchronous hook, where it is installed. Prints requests per second and their ratio to `webhook`;
only the ratios say something about another machine.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.benchmarks.load import send, tickets
from tests.support.conditions import eventually_true
from tests.support.mediator import Mediator
from tests.support.scripts import OK

WAITS = "#!/bin/sh\nexec sleep 100000\n"


@dataclass(frozen=True)
class Server:
    """Something that takes tickets."""

    url: str
    pid: int


@dataclass(frozen=True)
class Round:
    """What one round measured."""

    rate: float
    """requests a second"""
    cpu: float
    """microseconds of processor time that a request cost the server"""


Target = Callable[[Path], AbstractContextManager[Server]]


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rounds: dict[str, list[Round]] = {}
    for _ in range(asked.rounds):
        for name, target in _targets().items():
            rounds.setdefault(name, []).append(_round(target, asked))
    _report(rounds, asked)


def _targets() -> dict[str, Target]:
    targets: dict[str, Target] = {
        "mediator, slots taken": lambda home: _mediator(home, WAITS),
        "mediator, scripts run": lambda home: _mediator(home, OK),
    }
    if shutil.which("webhook"):
        targets["webhook"] = _webhook
    return targets


def _round(target: Target, asked: argparse.Namespace) -> Round:
    """A fresh server each time: no backlog of an earlier round runs beside it."""
    requests = tickets(asked.count, script="note.sh")
    with tempfile.TemporaryDirectory() as home, target(Path(home)) as server:
        if urlsplit(server.url).path:
            requests = [_to_hook(request) for request in requests]
        process = psutil.Process(server.pid)
        before = process.cpu_times()
        seconds, statuses = send(server.url, requests, connections=asked.connections)
        after = process.cpu_times()
    if set(statuses) - {200, 202}:
        sys.stderr.write(f"not all were taken: {dict(statuses)}\n")
    cpu = after.user + after.system - before.user - before.system
    return Round(rate=asked.count / seconds, cpu=1e6 * cpu / asked.count)


def _report(rounds: dict[str, list[Round]], asked: argparse.Namespace) -> None:
    base = statistics.median(one.rate for one in rounds.get("webhook", [Round(math.nan, 0)]))
    lines = [f"{asked.count} tickets of 2 kB, {asked.connections} connections"]
    for name, measured in rounds.items():
        rates = [one.rate for one in measured]
        rate = statistics.median(rates)
        cpu = statistics.median(one.cpu for one in measured)
        lines.append(
            f"{name:<24} {rate:6.0f}/s ({min(rates):.0f} to {max(rates):.0f})"
            f" {rate / base:6.2f} x webhook  {cpu:5.0f} us of processor time each"
        )
    sys.stdout.write("\n".join([*lines, ""]))


@contextmanager
def _mediator(home: Path, script: str) -> Iterator[Server]:
    mediator = Mediator(home)
    mediator.script("note.sh", script)
    with mediator:
        yield Server(mediator.url, mediator.pid)


@contextmanager
def _webhook(home: Path) -> Iterator[Server]:
    script = home / "note.sh"
    script.write_text(OK)
    script.chmod(0o755)
    hook = {
        "id": "note",
        "execute-command": str(script),
        "include-command-output-in-response": False,
    }
    hooks = home / "hooks.json"
    hooks.write_text(json.dumps([hook]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually_true(lambda: _listens(port))
        yield Server(f"http://127.0.0.1:{port}/hooks/note", process.pid)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return False
    return True


def _to_hook(request: bytes) -> bytes:
    rest = request.partition(b"\r\n")[2]
    return b"POST /hooks/note HTTP/1.1\r\n" + rest


if __name__ == "__main__":
    main()
