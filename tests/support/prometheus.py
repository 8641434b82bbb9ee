"""A real Prometheus for tests, on a free port, in a directory of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.conditions import eventually_true

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Prometheus:
    """Scrapes one target every second; `with Prometheus(tmp_path, target) as prometheus:`."""

    home: Path
    target: str
    """host and port"""
    rules: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        config = self.home / "prometheus.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(self.rules)],
                    "scrape_configs": [
                        {"job_name": "mediator", "static_configs": [{"targets": [self.target]}]}
                    ],
                }
            )
        )
        with (self.home / "log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={self.home / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--enable-feature=exemplar-storage",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        eventually_true(self._ready)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "log").read_text()
        try:
            with _DIRECT.open(f"http://127.0.0.1:{self.port}/-/ready", timeout=10):
                return True
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of what the API answers (https://prometheus.io/docs/prometheus/latest/querying/api/)."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        with _DIRECT.open(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        """What a query gives now, one value for each series."""
        return [float(r["value"][1]) for r in self.get("query", query=expression)["result"]]

    def seen(self, expression: str, *, seconds: float, now: float) -> list[float]:
        """What it gave at any time in the last `seconds`."""
        span = {"start": f"{now - seconds:.3f}", "end": f"{now:.3f}", "step": "1"}
        found = self.get("query_range", query=expression, **span)["result"]
        return [float(value) for series in found for _, value in series["values"]]
