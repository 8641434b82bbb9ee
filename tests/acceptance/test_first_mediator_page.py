"""The lesson of docs/tutorial/first-mediator.md, typed in from start to end."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.support.conditions import eventually_true
from tests.support.mediator import REPOSITORY

PAGE = (REPOSITORY / "docs" / "tutorial" / "first-mediator.md").read_text()
BLOCKS = re.findall(r"^```\w+ ?(\S*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
"""What stands behind the language, and the text: a file, `install`, `serve`, or commands."""
pytestmark = pytest.mark.timeout(300)  # a dozen commands, one after the other

ADDRESS, PAUSE = "http://127.0.0.1:8080", "sleep 2"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Reader:
    """Somebody who types what the page says."""

    home: Path
    daemon: subprocess.Popen[str] | None = None
    url: str = ADDRESS
    delivery: str = ""
    said: str = ""

    @property
    def environment(self) -> dict[str, str]:
        usual = {name: value for name, value in os.environ.items() if "MEDIATOR_" not in name}
        port = self.url.rpartition(":")[2] if self.daemon else "0"
        return {
            **usual,
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "MEDIATOR_HTTP__PORT": port,  # any that is free, where the page takes the usual one
        }

    def read(self, name: str, text: str) -> None:
        if name == "serve":
            self.start(text)
        elif name:
            (self.home / name).write_text(text)
        else:
            for line in text.splitlines():
                self.type(line)

    def start(self, command: str) -> None:
        self.daemon = subprocess.Popen(
            shlex.split(command),
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.daemon.stdout is not None
        self.url = json.loads(self.daemon.stdout.readline())["url"]

    def type(self, line: str) -> None:
        if line == PAUSE:
            eventually_true(self.settled)
            return
        done = self.run(ID.sub(self.delivery, line.replace(ADDRESS, self.url)))
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        self.said += done.stdout
        if found := re.search(rf"accepted as delivery ({ID.pattern})", done.stderr):
            self.delivery = found[1]
            eventually_true(self.settled)

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def settled(self) -> bool:
        """The mediator has the script as it is now, and nothing is left to be done."""
        script = (self.home / "scripts" / "hello.py").read_bytes()
        (known,) = self.ask("scripts")
        done = all(item["state"] in {"succeeded", "dead"} for item in self.ask("deliveries"))
        return bool(done and known["sha256"] == hashlib.sha256(script).hexdigest())

    def ask(self, what: str) -> list[dict[str, Any]]:
        token = (self.home / "operator.token").read_text().splitlines()[0]
        request = Request(  # noqa: S310 - the address of the daemon above
            f"{self.url}/v1/{what}", headers={"Authorization": f"Bearer {token}"}
        )
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            items: list[dict[str, Any]] = json.load(answer)["items"]
        return items


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """The tests' own environment serves; `tests/image` and others install one anew."""
    command = tmp_path / "bin" / "mediator"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mediator "$@"\n')
    command.chmod(0o755)
    reader = Reader(tmp_path)
    yield reader
    if reader.daemon is not None:
        reader.daemon.terminate()
        with reader.daemon:
            assert reader.daemon.wait(30) == 0


def test_everything_works_in_the_order_of_the_page(reader: Reader) -> None:
    blocks = [(name, text) for name, text in BLOCKS if name != "install"]
    assert [name for name, _ in blocks if name] == ["mediator.yaml", "scripts/hello.py", "serve"]
    for name, text in blocks:
        reader.read(name, text)
    assert "CREATE 70 bytes ['first']" in reader.said
    assert re.search(r"dead +hello\.py +ADVANCE", reader.said)
    assert [item["state"] for item in reader.ask("deliveries")] == ["succeeded"] * 2
