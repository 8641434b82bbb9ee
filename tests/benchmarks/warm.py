"""What a warm runner saves: the same scripts as processes, as forks, and run by Debian's `webhook`.

    python -m tests.benchmarks.warm --python PYTHON [--runs 30] [--at-once 16] [--rounds 3]

PYTHON has `requests` and `pytos2` (the tests of Tufin's SDK make one: `.venv/sdk/bin/python`).
Three scripts: one without imports, one that imports `requests`, one that imports `pytos2`. The
caller waits for the end of each, so that just as many run at once as there are connections.
Prints milliseconds to the script's first line after its imports, one at a time (medians): from when
the delivery was accepted, which for the others is their beginning, and from the first byte of the
hand-over; runs per second; and their ratios to `webhook` (`apt-get install webhook`). A bare fork
is that of a process with the module imported, which runs the script's code and ends, without
mediator, session, pipes or supervisor. Only ratios say something about another machine.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.load import send, tickets
from tests.support.conditions import eventually_true
from tests.support.mediator import OPERATOR, Mediator

SCRIPTS = {"empty": "", "requests": "import requests", "pytos2": "import pytos2.securechange"}
SCRIPT = """#!{python}
# /// script
# [tool.mediator]
# kind = "condition"
# answer = []
# runner = "{runner}"
# preload = {preload}
# ///
{text}
import os, time
os.write(os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT), b"%d\\n" % time.time_ns())
"""
BARE = """
import os, sys, time
program, text, runs, at_once = sys.argv[1:]
exec(text)
def fork():
    pid = os.fork()
    if pid == 0:
        with open(program) as file:
            exec(compile(file.read(), program, "exec"), {"__name__": "__main__"})
        os._exit(0)
for _ in range(int(runs)):
    print(time.time_ns(), flush=True)
    fork()
    os.wait()
began, alive = time.perf_counter(), 0
for _ in range(int(runs) * 4):
    fork()
    alive += 1
    if alive == int(at_once):
        os.wait()
        alive -= 1
for _ in range(alive):
    os.wait()
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Measured:
    """What one round measured."""

    accepted: float
    """milliseconds from acceptance to the script's first line after its imports"""
    wait: float
    """the same from the first byte"""
    rate: float
    """runs a second"""


@dataclass(frozen=True)
class Place:
    """Where a round is made, and with what."""

    home: Path
    python: Path
    text: str
    runs: int
    at_once: int

    @property
    def log(self) -> Path:
        """Where scripts write when they got to their first line."""
        return self.home / "log-of-scripts"

    def script(self, runner: str) -> str:
        """The script for a runner."""
        preload = [word for word in self.text.split() if word != "import"]
        return SCRIPT.format(
            python=self.python,
            runner=runner,
            preload=json.dumps(preload),
            text=self.text,
            log=str(self.log),
        )

    def stamps(self) -> list[int]:
        """What they wrote."""
        return [int(line) for line in self.log.read_text().splitlines()]


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", type=lambda path: Path(path).absolute(), required=True)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for name, text in SCRIPTS.items():
        rounds: dict[str, list[Measured]] = {}
        for _ in range(asked.rounds):
            for target, measure in _targets().items():
                with tempfile.TemporaryDirectory() as home:
                    place = Place(Path(home), asked.python, text, asked.runs, asked.at_once)
                    rounds.setdefault(target, []).append(measure(place))
        _report(name, rounds)


def _targets() -> dict[str, Callable[[Place], Measured]]:
    targets: dict[str, Callable[[Place], Measured]] = {
        "process": lambda place: _served(place, _mediator(place, "process")),
        "warm": lambda place: _served(place, _mediator(place, "warm")),
        "bare fork": _bare,
    }
    if shutil.which("webhook"):
        targets["webhook"] = lambda place: _served(place, _webhook(place))
    return targets


def _report(name: str, rounds: dict[str, list[Measured]]) -> None:
    medians = {target: _median(all_) for target, all_ in rounds.items()}
    hook = medians.get("webhook")
    sys.stdout.write(f"{name}\n")
    for target, one in medians.items():
        compared = ""
        if hook is not None:
            compared = (
                f"  as soon as webhook: {hook.accepted / one.accepted:6.1f} x and"
                f" {hook.wait / one.wait:6.1f} x, as many: {one.rate / hook.rate:6.1f} x"
            )
        sys.stdout.write(
            f"  {target:<10} {one.accepted:8.1f} ms {one.wait:8.1f} ms {one.rate:8.1f} runs/s"
            f"{compared}\n"
        )
    sys.stdout.flush()


def _median(rounds: list[Measured]) -> Measured:
    return Measured(
        accepted=statistics.median(one.accepted for one in rounds),
        wait=statistics.median(one.wait for one in rounds),
        rate=statistics.median(one.rate for one in rounds),
    )


def _served(place: Place, server: AbstractContextManager[str]) -> Measured:
    with server as url:
        requests = tickets(place.runs * 5 + 3, script="note.py")
        hook = bool(urlsplit(url).path)
        if hook:
            requests = [_to_hook(request) for request in requests]
        for _ in range(3):
            _ask(url, requests.pop())  # nobody's first runs
        waits, accepted = [], []
        for request in requests[: place.runs]:
            began = time.time_ns()
            delivery = _ask(url, request)
            line = place.stamps()[-1]
            waits.append((line - began) / 1e6)
            accepted.append((line - (began if hook else _received(url, delivery))) / 1e6)
        rest = requests[place.runs :]
        seconds, statuses = send(url, rest, connections=place.at_once)
        if set(statuses) != {200}:
            raise RuntimeError(statuses)
    return Measured(
        accepted=statistics.median(accepted),
        wait=statistics.median(waits),
        rate=len(rest) / seconds,
    )


def _received(url: str, delivery: str) -> int:
    """When a delivery was accepted, in ns since the epoch."""
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    request = urllib.request.Request(f"{url}/v1/deliveries/{delivery}", headers=headers)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310 -- our own mediator
        received = datetime.fromisoformat(json.load(answer)["received"])
    return round(received.timestamp() * 1e9)


def _ask(url: str, request: bytes) -> str:
    """Make the call; the id of the delivery, if it became one."""
    address = urlsplit(url)
    with socket.create_connection((str(address.hostname), address.port or 80)) as connection:
        request = request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    if b" 200 " not in answer[:20]:
        raise RuntimeError(answer[:1000])
    found = re.search(rb"Mediator-Delivery: (\S+)", answer)
    return found[1].decode() if found else ""


@contextmanager
def _mediator(place: Place, runner: str) -> Iterator[str]:
    dispatch = {"interactive_slots": place.at_once, "slots": 1}
    mediator = Mediator(place.home, settings={"dispatch": dispatch})
    mediator.script("note.py", place.script(runner))
    with mediator:
        if runner == "warm":
            eventually_true(lambda: mediator.events("warm parent ready"))
        yield mediator.url


@contextmanager
def _webhook(place: Place) -> Iterator[str]:
    script = place.home / "note.py"
    script.write_text(place.script("process"))
    script.chmod(0o755)
    hook = {
        "id": "note",
        "execute-command": str(script),
        "include-command-output-in-response": True,
    }
    hooks = place.home / "hooks.json"
    hooks.write_text(json.dumps([hook]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually_true(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}/hooks/note"
    finally:
        process.kill()
        process.wait()


def _bare(place: Place) -> Measured:
    script = place.home / "note.py"
    script.write_text(place.script("process"))
    numbers = (str(place.runs), str(place.at_once))
    command = [str(place.python), "-c", BARE, str(script), place.text, *numbers]
    *began, seconds = subprocess.check_output(command, text=True).split()
    waits = [
        (stamp - int(start)) / 1e6
        for stamp, start in zip(place.stamps(), map(int, began), strict=False)
    ]
    wait = statistics.median(waits)
    return Measured(accepted=wait, wait=wait, rate=place.runs * 4 / float(seconds))


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
