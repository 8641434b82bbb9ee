"""Runners under test, on both event loops, started by a daemon in an unfavourable state."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from mediator.model.delivery import Ended
from mediator.runners.port import Runner
from mediator.runners.prefork import Parents
from mediator.runners.process import ProcessRunner
from tests.integration.runners.support import Scripts, Start, Warmed

RUNNERS: dict[str, Callable[[Path], Runner]] = {"process": ProcessRunner, "warm": Warmed}
"""Every runner that keeps the contract, made from the directory for working directories."""


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where working directories are made."""
    return tmp_path / "work"


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


@pytest.fixture
def odd_daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process with much that a script must not inherit."""
    monkeypatch.setenv("MEDIATOR_SECRET", "a secret of the daemon")
    umask = os.umask(0o077)
    ignored = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    read, write = os.pipe()
    os.set_inheritable(read, True)
    yield
    os.close(read)
    os.close(write)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    signal.signal(signal.SIGUSR1, ignored)
    os.umask(umask)


@pytest.fixture(params=RUNNERS)
async def runner(
    request: pytest.FixtureRequest,
    place: Path,
    odd_daemon: None,  # noqa: ARG001 -- wanted for its effects
) -> AsyncIterator[Runner]:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    runner = RUNNERS[request.param](place)
    await runner.start()
    yield runner
    await runner.close()
    assert failures == []  # what a callback raises reaches nobody else


@pytest.fixture
def parents() -> Parents:
    return Parents()


@pytest.fixture
async def local_runner(place: Path, parents: Parents) -> AsyncIterator[ProcessRunner]:
    """One whose parents a test can see."""
    runner = ProcessRunner(place, parents=parents)
    await runner.start()
    yield runner
    await runner.close()


@pytest.fixture
def attempt(runner: Runner, scripts: Scripts) -> Start:
    def start(
        program: Path, *arguments: str, stop: asyncio.Event | None = None, **keywords: Any
    ) -> asyncio.Task[Ended]:
        run = scripts.run(program, *arguments, **keywords)
        return asyncio.create_task(runner.run(run, stop=stop or asyncio.Event()))

    return start
