"""`mediator shim watch` as a process, and what it logged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.keeper.support import Commands
from tests.support.conditions import eventually_true


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A running watch."""

    process: subprocess.Popen[bytes]
    directory: Path

    def log(self) -> str:
        """What it wrote to stderr so far."""
        return (self.directory / "watch.log").read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The same, line by line."""
        return [json.loads(line) for line in self.log().splitlines(keepends=True) if "\n" in line]

    def until(self, text: str, *, times: int = 1) -> None:
        """Wait for a text in the log."""
        eventually_true(lambda: self.log().count(text) >= times)

    def ready(self) -> dict[str, Any]:
        """The ready line."""
        path = self.directory / "watch.out"
        eventually_true(lambda: path.read_text().endswith("\n"))
        return dict(json.loads(path.read_text()))

    def get(self, path: str) -> str:
        """A page of its port that answers 200."""
        url = f"{self.ready()['metrics_url']}{path}"
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - its own ready line
            return str(answer.read().decode())

    def sample(self, name: str, **labels: str) -> float:
        """A value of its metrics."""
        for family in text_string_to_metric_families(self.get("/metrics")):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        raise AssertionError(name)

    def stop(self) -> int:
        """End it by SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def watched(shim: Commands) -> Iterator[Watched]:
    """Watch while the block runs."""
    directory = shim.config.parent
    with (directory / "watch.log").open("wb") as log, (directory / "watch.out").open("wb") as out:
        process = subprocess.Popen(
            shim.words("watch", "--metrics-port", "0"),
            env={**os.environ, **shim.environment},
            stdout=out,
            stderr=log,
        )
    try:
        yield Watched(process=process, directory=directory)
    finally:
        process.kill()
        process.wait()
