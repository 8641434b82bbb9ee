"""The daemon's side of `launcher.py`: of the launcher process, and of each supervisor below it.

`LauncherClient` starts the launcher, gives it orders, and notices when it is gone. Of each order a
`SupervisorClient` hears how the attempt goes, and passes on what is to become of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from mediator.errors import MediatorError

_PROGRAM = Path(__file__).with_name("launcher.py")
_PATIENCE = 20.0  # seconds for a start on a busy machine, or for the last supervisor to end
Spawn = Callable[[int], "subprocess.Popen[bytes]"]
"""Starts the process that gets this descriptor as its end of the control socket."""
_log = structlog.get_logger(__name__)


class LauncherClient:
    """A launcher process, started again when somebody killed it."""

    def __init__(self, spawn: Spawn | None = None) -> None:
        """`spawn`: starts another program that obeys as the launcher does."""
        self._spawn = spawn_launcher if spawn is None else spawn
        self._process: _Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id of the launcher while it runs."""
        return self._process.pid if self._process and self._process.alive else None

    async def start(self) -> None:
        """Start it and wait until it listens. Raises LauncherFailed."""
        async with self._turn:
            await self._running()

    async def launch(self, specification: bytes, descriptors: Sequence[int]) -> None:
        """Order one attempt. `descriptors`: status socket, stdin, stdout, stderr of the script.

        They stay the caller's, to be closed at once. Raises LauncherFailed, or OSError when this
        process has no descriptor or memory left.
        """
        with _in_memory(specification) as file:
            async with self._turn:  # orders that wait for room keep their turn
                try:
                    await (await self._running()).send([*descriptors, file])
                except ConnectionError:  # it died just now
                    await (await self._running()).send([*descriptors, file])

    def kill(self) -> None:
        """Kill a launcher that does not react; the next order starts another."""
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """End it, and wait until it and every supervisor have ended."""
        async with self._turn:
            if self._process is not None:
                await self._process.close()

    async def _running(self) -> _Process:
        if self._process is None or not self._process.alive:
            self._process = _Process(self._spawn)
            await self._process.listening()
        return self._process


class SupervisorClient:
    """Hears one supervisor out; `end` is its report."""

    def __init__(self, status: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.end: asyncio.Future[Report] = loop.create_future()
        self.script: int | None = None
        """process id, session and process group of the script, before it runs"""
        self._supervisor: int | None = None
        self._failed: ExecFailed | None = None
        self._status = status
        status.setblocking(False)
        loop.add_reader(status.fileno(), self._hear)

    def terminate(self) -> None:
        """Send SIGTERM to the script's process group."""
        self._tell(b"T")

    def kill(self) -> None:
        """Kill the script and everything below it."""
        self._tell(b"K")

    def give_up(self) -> bool:
        """Kill a supervisor that does not obey; False when none has ever been heard of."""
        if self._supervisor is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._supervisor, signal.SIGKILL)
        return True

    def close(self) -> None:
        """Hang up: a supervisor that still watches kills everything. Again: does nothing."""
        if self._status.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._status.fileno())
            self._status.close()

    def _tell(self, command: bytes) -> None:
        with contextlib.suppress(OSError):  # it has just ended, and its report is on the way
            self._status.send(command)

    def _hear(self) -> None:
        try:
            message = self._status.recv(256)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        word, *fields = message.decode().split() or [""]
        if word == "forked":
            self.script, self._supervisor = map(int, fields)
        elif word == "failed":
            self._failed = ExecFailed(errno=int(fields[0]), step=fields[1])
        else:
            self.close()
            self.end.set_result(self._failed or _report(fields))


def _report(fields: list[str]) -> Finished | Vanished:
    if fields:
        status, asked, leftovers, survivors = map(int, fields)
        return Finished(status=status, asked=asked == 1, leftovers=leftovers, survivors=survivors)
    return Vanished(reason="its supervising process was killed, so how the script ended is unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecFailed:
    """The script could not be executed."""

    errno: int
    """why; 0 is unknown"""
    step: str
    """`fork`, `prepare`, `enter` (the working directory), `limit` or `execute`"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The script has ended, and everything it left behind."""

    status: int
    """as wait(2) has it"""
    asked: bool
    """whether it was told to, by SIGTERM or SIGKILL"""
    leftovers: int
    """processes killed after it"""
    survivors: int
    """processes that could not be killed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vanished:
    """There will be no report."""

    reason: str
    """why, for a person"""


Report = ExecFailed | Finished | Vanished


class _Process:
    """One launcher process from its start to its end."""

    def __init__(self, spawn: Spawn) -> None:
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._closing = False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._popen = spawn(theirs.fileno())
            except (OSError, ValueError) as error:  # ValueError: a variable cannot be encoded
                self._control.close()
                raise LauncherFailed(f"the launcher could not be started: {error}") from error
        self.pid = self._popen.pid
        self._control.setblocking(False)
        loop.add_reader(self._control.fileno(), self._hear)

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self._gone.done()

    async def listening(self) -> None:
        """Wait until it takes orders. Raises LauncherFailed."""
        try:
            await asyncio.wait(
                {self._ready, self._gone},
                timeout=_PATIENCE,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            if not self._ready.done():
                self._popen.kill()
                self._let_go()
        if not self._ready.done():
            code = self._popen.returncode
            raise LauncherFailed(f"the launcher did not get ready and ended with code {code}")

    async def send(self, descriptors: Sequence[int]) -> None:
        """Send an order, waiting while earlier ones fill the socket. Raises ConnectionError."""
        while self.alive:
            try:
                socket.send_fds(self._control, [b"launch"], descriptors)
            except BlockingIOError:
                await _writable(self._control.fileno(), or_done=self._gone)
            else:
                return
        raise ConnectionResetError("the launcher has just ended")

    def kill(self) -> None:
        """Kill it."""
        if self.alive:
            _log.error("launcher does not react", pid=self.pid)
            self._popen.kill()
            self._let_go()

    async def close(self) -> None:
        """Let it end after the last supervisor; kill it when that takes too long."""
        if not self.alive:
            return
        self._closing = True
        self._control.shutdown(socket.SHUT_WR)
        await asyncio.wait({self._gone}, timeout=_PATIENCE)
        self.kill()

    def _hear(self) -> None:
        try:
            greeting = self._control.recv(64)
        except BlockingIOError:
            return
        except OSError:
            greeting = b""
        if greeting:
            self._ready.set_result(None)
            return
        self._let_go()
        if self._ready.done() and not self._closing:
            _log.warning("launcher died", pid=self.pid, exit_code=self._popen.returncode)

    def _let_go(self) -> None:
        if self._gone.done():
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._gone.set_result(None)
        self._popen.wait()  # it closed its end by ending, or is killed: no wait worth speaking of


async def _writable(descriptor: int, *, or_done: asyncio.Future[None]) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    waiting = asyncio.create_task(ready.wait(), name="launcher takes orders again")
    either: set[asyncio.Future[Any]] = {waiting, or_done}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not or_done.done():  # then the descriptor is closed, and may be another's by now
            loop.remove_writer(descriptor)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """Hold bytes in a nameless file: a message has a largest size, arguments may be larger."""
    descriptor = os.memfd_create("mediator-attempt", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield descriptor
    finally:
        os.close(descriptor)


def spawn_launcher(control: int, *, python: str = sys.executable) -> subprocess.Popen[bytes]:
    """Start the process with an empty environment: scripts can read that of their parent."""
    library_path = os.environ.get("LD_LIBRARY_PATH")  # some interpreters need it to start
    return subprocess.Popen(  # noqa: S603 -- our own program
        [python, "-I", "-S", str(_PROGRAM), str(control)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(control,),
        env={} if library_path is None else {"LD_LIBRARY_PATH": library_path},
        cwd="/",
        start_new_session=True,
    )


class LauncherFailed(MediatorError):
    """The launcher could not be started, or took no order."""
