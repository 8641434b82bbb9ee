"""systemd hears of a mediator what it needs: when it takes work, that it lives, when it stops."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mediator import Mediator


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def heard(listening: socket.socket, word: str) -> list[str]:
    """The lines of the first message that begins with this word."""
    while True:
        lines = listening.recv(4096).decode().splitlines()
        if lines[0] == word:
            return lines


def test_a_service_manager_hears_of_start_life_and_stop(
    tmp_path: Path, manager: socket.socket
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    settings = {"dispatch": {"drain": "1h", "grace": "1m"}}
    with Mediator(tmp_path, settings, environment) as mediator:
        assert heard(manager, "READY=1")[1:] == [
            f"STATUS=taking work at {mediator.url}; attempts running: 0"
        ]
        heard(manager, "WATCHDOG=1")
        heard(manager, "WATCHDOG=1")
        assert mediator.terminate() == 0
        assert heard(manager, "STOPPING=1")[1:] == [
            "STATUS=draining; attempts running: 0",
            "EXTEND_TIMEOUT_USEC=3680000000",
        ]


def test_a_mediator_that_does_not_start_is_not_ready(
    tmp_path: Path, manager: socket.socket
) -> None:
    mediator = Mediator(tmp_path, {}, {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    (tmp_path / "securechange.key").unlink()
    assert mediator.refuse().returncode == 78
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)
