"""A real mediator for tests: the daemon as a process, in a directory of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import uuid_utils
import yaml
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from mediator.model.signatures import Key, sign
from tests.support.conditions import eventually, eventually_true

REPOSITORY = Path(__file__).parents[2]
SHIM = REPOSITORY / "bash_shim" / "securechange-shim"
KEY = Key(id="securechange", secret=b"k" * 40)
OPERATOR = "o" * 40
VIEWER = "v" * 40
CANARY = "canary-a1b2c3"
"""Stands in tickets and in what scripts print; no log may show it."""
START_SECONDS = 100
"""A busy machine may be slow; nothing is measured here."""


@dataclass
class Mediator:
    """One mediator: its directory, its process, and a client's view of it.

    `with Mediator(tmp_path) as mediator:` starts it; `script` adds scripts before or after.
    """

    home: Path
    settings: dict[str, Any] = field(default_factory=dict)
    """merged over the defaults below, section by section"""
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = (sys.executable, "-m", "mediator")
    process: subprocess.Popen[str] | None = None
    url: str = ""
    metrics_url: str = ""

    def __post_init__(self) -> None:
        """Make the directory."""
        self.scripts.mkdir(parents=True, exist_ok=True)
        for name, secret in (
            ("securechange.key", KEY.secret.decode()),
            ("operator.token", OPERATOR),
            ("viewer.token", VIEWER),
        ):
            path = self.home / name
            path.write_text(f"{secret}\n")
            path.chmod(0o600)
        self.configure(self.settings)

    @property
    def scripts(self) -> Path:
        """The scripts directory."""
        return self.home / "scripts"

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.home / "mediator.yaml"

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the settings file."""
        tree: dict[str, Any] = {
            "http": {"port": 0},
            "auth": {
                "tokens": [
                    {"name": "ops", "role": "operator", "secret_file": "operator.token"},
                    {"name": "eyes", "role": "viewer", "secret_file": "viewer.token"},
                ]
            },
            "dispatch": {"grace": "1s", "drain": "10s"},
        }
        for section, values in settings.items():
            tree[section] = {**tree.get(section, {}), **values}
        self.config.write_text(yaml.safe_dump(tree))

    def script(self, name: str, text: str, *, mode: int = 0o755) -> Path:
        """Put a script into the scripts directory, whole at once."""
        path = self.scripts / name
        fresh = path.with_name(f".{name}.new")
        fresh.write_text(text)
        fresh.chmod(mode)
        return fresh.rename(path)

    @property
    def _serve(self) -> list[str]:
        return [*self.command, "serve", "--config", str(self.config)]

    def start(self) -> Self:
        """Start the daemon and wait for its ready line."""
        with (self.home / "log").open("a") as log:
            self.process = subprocess.Popen(
                self._serve,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.home,
                env={**os.environ, **self.environment},
            )
        ready = json.loads(self._first_line(self.process) or "{}")
        if ready.get("event") != "ready":
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the mediator did not start:\n{self.log()}")
        self.url = ready["url"]
        self.metrics_url = ready.get("metrics_url", self.url)
        return self

    def refuse(self) -> subprocess.CompletedProcess[str]:
        """Start the daemon, which is expected to give up by itself."""
        return subprocess.run(
            self._serve,
            capture_output=True,
            check=False,
            timeout=START_SECONDS,
            text=True,
            cwd=self.home,
            env={**os.environ, **self.environment},
        )

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            return process.stdout.readline()
        finally:
            watchdog.cancel()

    def log(self) -> str:
        """What the daemon has logged."""
        return (self.home / "log").read_text()

    def events(self, message: str) -> list[dict[str, Any]]:
        """The log lines with this message."""
        lines = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == message]

    def kill(self) -> None:
        """As a power cut would: SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def terminate(self) -> int:
        """As an orderly stop: SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self._reap()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def peak_memory(self) -> int:
        """The most resident memory it ever had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(timeout=START_SECONDS)
        _close(self.process.stdout)
        self.process = None
        return code

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop it, however it is; whatever it did, its log tells no secret."""
        if self.process is not None:
            self.process.kill()
            self._reap()
        log = self.log()
        for secret in (KEY.secret.decode(), OPERATOR, VIEWER, CANARY):
            assert secret not in log, f"the log tells {secret}"

    # --- as a shim or an operator would use it -------------------------------------------------

    def shim(
        self,
        script: str,
        *arguments: str,
        stdin: bytes,
        event: str = "CREATE",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Call the real shim, as SecureChange would."""
        return subprocess.run(
            ["/bin/bash", str(SHIM), script, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
            env={
                "PATH": os.environ["PATH"],
                "SCW_EVENT": event,
                "MEDIATOR_URL": self.url,
                "MEDIATOR_KEY_ID": KEY.id,
                "MEDIATOR_KEY_FILE": str(self.home / "securechange.key"),
                **(environment or {}),
            },
        )

    def cli(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Call the `mediator` command in the mediator's directory."""
        return subprocess.run(
            [sys.executable, "-m", "mediator", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
            text=True,
            cwd=self.home,
            env={**os.environ, "MEDIATOR_CONFIG": str(self.config), "COLUMNS": "200"},
        )

    # --- what a test that has no event loop needs before or after that, without a process each ---

    def hand_over(self, handover: Handover) -> str:
        """Hand a ticket to a trigger; the id of the delivery."""
        answer = self._request("POST", handover.target, handover.body, handover.signed())
        return str(answer["delivery"])

    def delivery(self, delivery_id: str) -> dict[str, Any]:
        """One delivery."""
        proof = {"Authorization": f"Bearer {OPERATOR}"}
        return self._request("GET", f"/v1/deliveries/{delivery_id}", b"", proof)

    def until(self, delivery_id: str, state: str) -> None:
        """Return once the delivery is in this state."""
        eventually_true(lambda: self.delivery(delivery_id)["state"] == state)

    def _request(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        with closing(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as asked:
            asked.request(method, target, body, dict(headers))
            answer = asked.getresponse()
            text = answer.read()
        assert answer.status < 300, text
        document: dict[str, Any] = json.loads(text)
        return document


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        stream.close()


@dataclass(kw_only=True)
class Handover:
    """A hand-over as a client builds it; every part can be spoilt by a test."""

    script: str = "notify.py"
    event: str | None = "CREATE"
    arguments: Sequence[str] = ()
    body: bytes = f"<ticket_info><id>1</id><comment>{CANARY}</comment></ticket_info>".encode()
    key: Key = KEY
    idempotency_key: str = ""
    created: datetime | None = None
    query: str | None = None
    """the raw query string instead of event and arguments"""
    path: str = ""
    """the raw path instead of the script's"""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The request target."""
        pairs = [] if self.event is None else [("SCW_EVENT", self.event)]
        pairs += [("arg", argument) for argument in self.arguments]
        query = self.query
        if query is None:
            query = urlencode(pairs, quote_via=quote, errors="surrogateescape")
        path = self.path or f"/v1/scripts/{quote(self.script, safe='')}/deliveries"
        return f"{path}?{query}" if query else path

    def signed(self, method: str = "POST") -> dict[str, str]:
        """The headers."""
        return {
            **sign(
                method=method,
                target=self.target,
                body=self.body,
                key=self.key,
                idempotency_key=self.idempotency_key or uuid_utils.uuid4().hex,
                now=self.created or datetime.now(UTC),
                nonce=uuid_utils.uuid4().hex,
            ),
            **self.headers,
        }


class Client:
    """Talks to a mediator over HTTP; use as `async with Client(url) as client`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session: aiohttp.ClientSession
        self._sockets: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        """Open the session."""
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket),
            timeout=aiohttp.ClientTimeout(total=120),
            auto_decompress=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it, also connections that have not sent everything: nobody wants the rest."""
        await self.session.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        await eventually(self._open, until=lambda count: count == 0)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        self._sockets.append(socket.socket(family, kind, protocol))
        return self._sockets[-1]

    async def _open(self) -> int:
        return sum(each.fileno() >= 0 for each in self._sockets)

    async def hand_over(self, handover: Handover) -> Answer:
        """Send it."""
        return await self.send(handover.target, handover.body, handover.signed())

    async def send(
        self, target: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> Answer:
        """POST exactly this; an asynchronous iterator goes in chunks."""
        url = URL(self.url + target, encoded=True)
        async with self.session.post(url, data=body, headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def get(self, path: str, *, token: str | None = OPERATOR) -> Answer:
        """GET, with a token unless None."""
        return await self.call("GET", path, token=token)

    async def post(self, path: str, *, token: str | None = OPERATOR) -> Answer:
        """POST, with a token unless None."""
        return await self.call("POST", path, token=token)

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = OPERATOR,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Any method."""
        proof = {} if token is None else {"Authorization": f"Bearer {token}"}
        sent = {**proof, **headers}
        async with self.session.request(method, self.url + path, headers=sent) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def delivery(self, delivery_id: str) -> dict[str, Any]:
        """One delivery."""
        answer = await self.get(f"/v1/deliveries/{delivery_id}")
        assert answer.status == 200, answer
        return answer.json()

    async def until(self, delivery_id: str, *states: str) -> dict[str, Any]:
        """The delivery, once it is in one of `states`."""
        return await eventually(
            lambda: self.delivery(delivery_id), until=lambda found: found["state"] in states
        )

    async def until_running(self, count: int) -> list[dict[str, Any]]:
        """The running deliveries, once there are so many."""

        async def running() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await self.get("/v1/deliveries?state=running")).json()[
                "items"
            ]
            return items

        return await eventually(running, until=lambda found: len(found) == count)

    async def until_scripts(self, *names: str) -> None:
        """Return once these scripts are ready."""

        async def ready() -> set[str]:
            items = (await self.get("/v1/scripts")).json()["items"]
            return {item["name"] for item in items if item["ready"]}

        await eventually(ready, until=lambda found: found >= set(names))

    async def sample(self, name: str, **labels: str) -> float:
        """One value of the metrics page; 0 for a series that is not there yet."""
        text = (await self.get("/metrics", token=None)).body.decode()
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        found = [s.value for s in samples if s.name == name and s.labels == labels]
        return found[0] if found else 0.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The document."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def detail(self) -> str:
        """The sentence of a problem document."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self
        return str(self.json()["detail"])

    @property
    def delivery(self) -> str:
        """The id of the delivery."""
        return self.headers["Mediator-Delivery"]
