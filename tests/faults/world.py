"""One or two mediators with everything around them that can be broken."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.clocks import Clock
from tests.faults.processes import Witness
from tests.faults.works import WORKS, install, policies
from tests.support.mediator import Client, Mediator
from tests.support.postgresql import Postgresql
from tests.support.proxy import Proxy
from tests.support.sockets import steady_port

LEASE = 2.0
"""Seconds without a sign of a mediator after which another takes over what it ran."""
DISK = 96 * 2**20
"""Bytes of the file system that SQLite's file is on, where one may be mounted."""
_MARK = "FAULTS_WORLD"


@dataclass(kw_only=True)
class World:
    """What faults are injected into. Made by `sqlite_world` and `postgresql_world`."""

    home: Path
    mediators: list[Mediator]
    callers: list[Proxy] = field(default_factory=list)
    """between callers and the mediators, one each"""
    database: list[Proxy] = field(default_factory=list)
    """between the mediators and PostgreSQL, one each"""
    clocks: list[Clock]
    postgresql: Postgresql | None = None
    mounted: bool = False
    """whether the store is on a file system of its own, which can be filled"""
    restarted: bool = False
    """whether a mediator forgot what it had counted"""
    witness: Witness

    @property
    def told(self) -> str:
        """What it is, for the report."""
        if self.postgresql is not None:
            return f"{len(self.mediators)} mediators, PostgreSQL"
        disk = f"a tmpfs of {DISK >> 20} MiB" if self.mounted else "no tmpfs: RLIMIT_FSIZE instead"
        return f"1 mediator, SQLite on {disk}"

    @property
    def effects(self) -> Path:
        """Where all scripts write."""
        return self.home / "effects"

    @property
    def urls(self) -> list[str]:
        """Where callers find the mediators."""
        return [f"http://127.0.0.1:{proxy.port}" for proxy in self.callers]

    @property
    def file(self) -> Path:
        """SQLite's."""
        return self.mediators[0].home / "disk" / "mediator.db"

    async def start(self, mediator: Mediator) -> None:
        """Start one that is down."""
        await asyncio.to_thread(mediator.start)

    async def kill(self, mediator: Mediator) -> None:
        """SIGKILL."""
        self.witness.look(mediator.pid)
        self.restarted = True
        await asyncio.to_thread(mediator.kill)

    async def stop(self) -> None:
        """SIGTERM to all of them, one after the other."""
        for mediator in self.mediators:
            self.witness.look(mediator.pid)
            self.restarted = True
            assert await asyncio.to_thread(mediator.terminate) == 0, mediator.log()[-2000:]

    def left(self) -> list[str]:
        """Working directories that are still there."""
        places = (mediator.home / "state" / "work" for mediator in self.mediators)
        return [str(found) for place in places for found in place.glob("runner-*")]


@asynccontextmanager
async def sqlite_world(home: Path, *, clocked: bool) -> AsyncIterator[World]:
    """One mediator, its store in a file; `clocked`: its clock can be set, which takes its time."""
    async with AsyncExitStack() as stack:
        mounted = stack.enter_context(_disk(home / "one" / "disk"))
        made = _world(home, [("one", "sqlite:///disk/mediator.db")], clocked=clocked)
        made.mounted = mounted
        yield await _opened(made, stack)


@asynccontextmanager
async def postgresql_world(
    home: Path, server: Postgresql, database: str, *, clocked: bool
) -> AsyncIterator[World]:
    """Two mediators, each with a wire of its own to the database."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Proxy(server.port)) for _ in range(2)]
        urls = [database.replace(f":{server.port}/", f":{wire.port}/") for wire in wires]
        made = _world(home, list(zip(("one", "other"), urls, strict=True)), clocked=clocked)
        made.postgresql, made.database = server, wires
        yield await _opened(made, stack)


def _world(home: Path, stores: list[tuple[str, str]], *, clocked: bool) -> World:
    clocks = [Clock(home / f"{folder}.clock", can_be_set=clocked) for folder, _ in stores]
    mediators = [
        Mediator(
            home / folder,
            settings=_settings(home, store),
            environment=clock.environment,
            command=clock.command,
        )
        for (folder, store), clock in zip(stores, clocks, strict=True)
    ]
    mark = f"{_MARK}={home}"
    return World(home=home, mediators=mediators, clocks=clocks, witness=Witness(mark))


def _settings(home: Path, store: str) -> dict[str, Any]:
    return {
        "http": {"port": steady_port()},
        "store": {"url": store, "lease": f"{LEASE:g}s", "disk_floor": 0},
        "auth": {"window": "6h"},  # so that tickets come in while a clock is wrong
        "dispatch": {"slots": 6, "interactive_slots": 2, "env": {_MARK: str(home)}},
        "policies": policies(WORKS),
    }


async def _opened(world: World, stack: AsyncExitStack) -> World:
    world.effects.touch()
    for mediator in world.mediators:
        (mediator.home / "log").touch()
        install(WORKS, mediator, world.effects)
        stack.callback(mediator.__exit__)
        stack.callback(_wake, mediator)
    await asyncio.gather(*(world.start(mediator) for mediator in world.mediators))
    for mediator in world.mediators:
        port = mediator.settings["http"]["port"]
        world.callers.append(await stack.enter_async_context(Proxy(port)))
        async with Client(mediator.url) as client:
            await client.until_scripts(*(work.name for work in WORKS))
    return world


def _wake(mediator: Mediator) -> None:
    """A test that failed may have left it standing still."""
    if mediator.process is not None:
        mediator.signal(signal.SIGCONT)


@contextmanager
def _disk(at: Path) -> Iterator[bool]:
    """A small file system, or an ordinary directory where none may be mounted; which of them."""
    at.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(at)]
    mounted = False
    if os.geteuid() == 0:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(at)], check=True)
