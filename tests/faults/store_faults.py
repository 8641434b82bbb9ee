"""Stores that are killed, stand still, are full, or are somebody else's for a while."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults import log_tail
from tests.faults.world import World
from tests.support.conditions import eventually
from tests.support.postgresql import Postgresql


def _server(world: World) -> Postgresql:
    assert world.postgresql is not None
    return world.postgresql


def _processes(server: Postgresql) -> list[psutil.Process]:
    """All of the server, the postmaster first: it must not replace what is taken from it."""
    assert server.process is not None
    postmaster = psutil.Process(server.process.pid)
    return [postmaster, *postmaster.children(recursive=True)]


@dataclass(kw_only=True)
class KillPostgresql:
    """SIGKILL for all processes of the server, as a crash of its machine would."""

    name: str = "kill -9 of PostgreSQL"
    cuts: bool = True
    lasts: tuple[float, float] = (0.0, 1.5)

    async def inject(self, world: World, chance: random.Random) -> None:  # noqa: ARG002
        """Kill it."""
        server = _server(world)
        _each(_processes(server)[:1], psutil.Process.suspend)  # so that it forks no more
        _each(_processes(server)[1:], psutil.Process.kill)
        server.kill()

    async def heal(self, world: World) -> None:
        """Start it; it recovers from its own log."""
        _server(world).start()


@dataclass(kw_only=True)
class StopPostgresql:
    """SIGSTOP for all processes of the server: it takes what is sent, and says nothing."""

    name: str = "SIGSTOP of PostgreSQL"
    cuts: bool = True
    lasts: tuple[float, float] = (2.5, 5.0)

    async def inject(self, world: World, chance: random.Random) -> None:  # noqa: ARG002
        """Stop it."""
        _each(_processes(_server(world)), psutil.Process.suspend)

    async def heal(self, world: World) -> None:
        """Let it go on."""
        _each(_processes(_server(world)), psutil.Process.resume)


def _each(found: Iterable[psutil.Process], do: Callable[[psutil.Process], None]) -> None:
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            do(process)


@dataclass(kw_only=True)
class NoLargerFiles:
    """Files of the daemon may not grow (RLIMIT_FSIZE): the nearest to a full disk without one."""

    name: str = "files may not grow"
    cuts: bool = False
    lasts: tuple[float, float] = (1.5, 4.0)
    _before: tuple[int, int] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    async def inject(self, world: World, chance: random.Random) -> None:  # noqa: ARG002
        """Forbid it. The log of the daemon is a file too, and loses lines."""
        pid = world.mediators[0].pid
        self._before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, self._before[1]))

    async def heal(self, world: World) -> None:
        """Allow it."""
        resource.prlimit(world.mediators[0].pid, resource.RLIMIT_FSIZE, self._before)


@dataclass(kw_only=True)
class FullDisk:
    """Not a byte is left for the store; where nothing may be mounted, files may not grow."""

    name: str = "disk full"
    cuts: bool = False
    lasts: tuple[float, float] = (1.5, 4.0)
    _instead: NoLargerFiles = field(default_factory=NoLargerFiles)

    async def inject(self, world: World, chance: random.Random) -> None:
        """Fill it."""
        if not world.mounted:
            await self._instead.inject(world, chance)
            return
        with self._fill(world).open("wb", buffering=0) as file:
            for piece in (2**20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(piece)):
                        pass

    async def heal(self, world: World) -> None:
        """Make room."""
        if not world.mounted:
            await self._instead.heal(world)
            return
        self._fill(world).unlink()

    def _fill(self, world: World) -> Path:
        return world.file.parent / "fill"


_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


def _locker(file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@dataclass(kw_only=True)
class LockedFile:
    """Another process has locked the database file."""

    name: str = "database locked by another process"
    cuts: bool = False
    lasts: tuple[float, float] = (2.5, 4.0)
    _other: subprocess.Popen[bytes] | None = None

    async def inject(self, world: World, chance: random.Random) -> None:  # noqa: ARG002
        """Lock it."""
        self._other = _locker(world.file)
        assert self._other.stdout is not None
        os.set_blocking(self._other.stdout.fileno(), False)
        await eventually(self._said)

    async def _said(self) -> bytes:
        assert self._other is not None
        assert self._other.stdout is not None
        return self._other.stdout.read() or b""

    async def heal(self, world: World) -> None:  # noqa: ARG002
        """Let go of it."""
        assert self._other is not None
        self._other.communicate()


@dataclass(kw_only=True)
class TornLog:
    """A power cut: the daemon dies, and the end of SQLite's log is half of what it began to write.

    Only what was never acknowledged can be torn: a commit is answered when it is synced.
    """

    name: str = "power cut that tears the end of SQLite's log"
    cuts: bool = True
    lasts: tuple[float, float] = (0.0, 0.2)

    async def inject(self, world: World, chance: random.Random) -> None:
        """Kill it, and spoil what follows the last commit."""
        await world.kill(world.mediators[0])
        log_tail.tear(world.file.with_name(world.file.name + "-wal"), chance)

    async def heal(self, world: World) -> None:
        """Start it again."""
        await world.start(world.mediators[0])
