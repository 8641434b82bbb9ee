"""A manager that is told over a real socket, as systemd is; see sd_notify(3)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mediator.daemon.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The manager's end, and its address as `NOTIFY_SOCKET` has it."""
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        listening.settimeout(60)
        yield listening, address


def heard(listening: socket.socket) -> list[str]:
    return listening.recv(4096).decode().splitlines()


def test_it_hears_that_the_service_is_ready(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    ServiceManager(address=address).ready("taking work")
    assert heard(listening) == ["READY=1", "STATUS=taking work"]


def test_it_hears_how_long_stopping_may_take(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    ServiceManager(address=address).stopping("draining", seconds=42.5)
    assert heard(listening) == ["STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=42500000"]


@asynccontextmanager
async def informed(told: ServiceManager) -> AsyncIterator[None]:
    telling = asyncio.create_task(told.keep_informed(lambda: "taking work"))
    yield
    telling.cancel()
    await asyncio.wait({telling})


async def test_a_watchdog_gets_signs_of_life_again_and_again(
    manager: tuple[socket.socket, str],
) -> None:
    listening, address = manager
    async with informed(ServiceManager(address=address, patience=0.03)):
        for _ in range(3):
            line = await asyncio.to_thread(heard, listening)
            assert line == ["WATCHDOG=1", "STATUS=taking work"]


def test_a_manager_that_is_gone_is_a_line_in_the_log(tmp_path: Path) -> None:
    with capture_logs() as logs:
        ServiceManager(address=str(tmp_path / "gone")).ready("taking work")
    assert [line["event"] for line in logs] == ["service manager not told"]
