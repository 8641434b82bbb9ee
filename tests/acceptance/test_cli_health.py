"""`mediator health`: what a container's health check sees, from a real mediator."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.mediator import Mediator


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(params=["one port", "two ports"])
def mediator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mediator]:
    http = {"metrics_port": free_port()} if request.param == "two ports" else {}
    made = Mediator(tmp_path, {"http": {"port": 0, **http}})
    with made:
        made.configure({"http": {"port": urlsplit(made.url).port, **http}})
        yield made


def test_a_ready_mediator_is_healthy_without_a_token(mediator: Mediator) -> None:
    mediator.configure({"http": {"port": 1, "metrics_port": urlsplit(mediator.metrics_url).port}})
    (mediator.home / "operator.token").unlink()
    (mediator.home / "viewer.token").unlink()
    told = mediator.cli("health")
    assert (told.returncode, told.stdout) == (0, "ready\n"), told.stderr


def test_a_mediator_that_cannot_keep_anything_is_not(tmp_path: Path) -> None:
    made = Mediator(tmp_path, {"store": {"disk_floor": 10**15}})
    with made:
        made.configure({"http": {"port": urlsplit(made.url).port}})
        told = made.cli("health")
    assert told.returncode == 1
    assert told.stderr.startswith("mediator: not ready: ")
    assert "disk" in told.stderr


def test_one_that_is_away_is_said_to_be(mediator: Mediator) -> None:
    mediator.kill()
    told = mediator.cli("health")
    assert told.returncode == 75
    assert told.stderr.startswith("mediator: no mediator answers at http://127.0.0.1:")
    assert len(told.stderr.splitlines()) == 1


def test_something_else_at_the_port_is_no_mediator(tmp_path: Path) -> None:
    made = Mediator(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        made.configure({"http": {"port": other.getsockname()[1]}})
        thread = threading.Thread(target=_answer, args=(other,))
        thread.start()
        told = made.cli("health")
        thread.join(60)
    assert told.returncode == 75
    assert "is no mediator" in told.stderr


def _answer(server: socket.socket) -> None:
    there, _ = server.accept()
    with there:
        there.recv(65536)
        there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_a_port_that_only_the_mediator_knows_is_a_matter_of_settings(tmp_path: Path) -> None:
    told = Mediator(tmp_path).cli("health")
    assert told.returncode == 78
    assert "http.port is 0" in told.stderr
