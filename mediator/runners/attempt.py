"""One attempt as a process: ordered, fed with its ticket, heard, and seen to its end.

`specify` and `channels` make what the launcher needs to start it (see `launcher.py`);
`ProcessAttempt` waits for its end, or brings it about. What its supervisor can no longer kill,
because that was killed itself, is found and killed from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import math
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from mediator.model.delivery import Ended
from mediator.model.policy import Limits
from mediator.runners.launcher_client import (
    Finished,
    LauncherClient,
    Report,
    SupervisorClient,
    Vanished,
)
from mediator.runners.outcome import Stopped, judge
from mediator.runners.output import BoundedOutput
from mediator.runners.port import Run

PATIENCE = 10.0
"""Seconds for a supervisor to kill everything: twice what it allows itself."""
_CHUNK = 65536  # bytes, the capacity of a pipe, pipe(7)
_LARGEST_PIPE = 1 << 20  # bytes that a pipe may be made to hold without privileges, pipe(7)
_ROUNDS = 20  # of looking for orphans: what is killed may just have forked
_log = structlog.get_logger(__name__)


class ProcessAttempt:
    """An attempt from its launch to its end."""

    def __init__(
        self,
        run: Run,
        directory: Path,
        channels: Channels,
        *,
        launcher: LauncherClient,
        patience: float = PATIENCE,
    ) -> None:
        """`launcher`: who has the order to start it. `patience`: seconds, see `PATIENCE`."""
        self._run = run
        self._directory = directory
        self._launcher = launcher
        self._patience = patience
        self._stopped: Stopped | None = None
        self._report: Report | None = None
        self._supervisor = SupervisorClient(channels.status)
        self._stdout = Drain(channels.stdout, run.limits.output, _listener(run, "stdout"))
        self._stderr = Drain(channels.stderr, run.limits.output, _listener(run, "stderr"))
        self._stdin = channels.stdin

    async def end(self, *, stop: asyncio.Event) -> Ended:
        """See it to its end; nothing of it is alive afterwards."""
        await self._wait(stop)
        if not self._over and self._stopped is None:
            self._stopped = Stopped.by_request() if stop.is_set() else Stopped.by_timeout(self._run)
            await self._stop(self._stopped)
        self._report = await self._settle()
        await self._drain()
        return dataclasses.replace(
            judge(self._report, self._run, stopped=self._stopped),
            stdout=self._stdout.kept.output(),
            stderr=self._stderr.kept.output(),
        )

    def shut_down(self) -> None:
        """Have it killed because the runner closes."""
        self._stopped = self._stopped or Stopped.by_closing()
        self._supervisor.kill()

    async def kill(self) -> None:
        """Kill everything at once, unless that is done, and wait until it is dead."""
        if self._report is None:
            await self._kill()
            self._report = await self._settle()

    def close(self) -> None:
        """Let go of pipes and supervisor."""
        self._supervisor.close()
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()

    @property
    def _over(self) -> bool:
        return self._supervisor.end.done()

    async def _wait(self, stop: asyncio.Event) -> None:
        """Wait for its own end, but only until the timeout or `stop`."""
        stopping = asyncio.create_task(stop.wait(), name=f"stop {self._run.name}")
        either: set[asyncio.Future[Any]] = {self._supervisor.end, stopping}
        try:
            await asyncio.wait(
                either, timeout=self._run.timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()

    async def _stop(self, stopped: Stopped) -> None:
        self._supervisor.terminate()
        await asyncio.wait({self._supervisor.end}, timeout=self._run.grace)
        if not self._over:
            self._stopped = stopped.with_force(self._run)
            await self._kill()

    async def _kill(self) -> None:
        self._supervisor.kill()
        await asyncio.wait({self._supervisor.end}, timeout=self._patience)

    async def _settle(self) -> Report:
        """What the supervisor said; without a word from it, kill what can be found."""
        if not self._over:
            await self._give_up()
        if not self._over:
            return Vanished(reason="the launcher does not react, so nothing is known of the script")
        report = self._supervisor.end.result()
        if isinstance(report, Vanished) and self._supervisor.script is not None:
            await self._kill_orphans(self._supervisor.script)
        elif isinstance(report, Finished):
            self._warn(report)
        return report

    async def _give_up(self) -> None:
        """Kill the supervisor, or the launcher where none has ever taken the order."""
        known = self._supervisor.give_up()
        await asyncio.wait({self._supervisor.end}, timeout=self._patience)
        if not (known or self._over):
            self._launcher.kill()

    async def _kill_orphans(self, script: int) -> None:
        open_pipes = [pipe.inode for pipe in (self._stdout, self._stderr) if not pipe.ended.done()]
        killed = await asyncio.to_thread(kill_orphans, script, self._directory, open_pipes)
        _log.error("attempt lost", killed=killed)

    def _warn(self, report: Finished) -> None:
        if report.leftovers:
            _log.warning("leftovers killed", leftovers=report.leftovers)
        if report.survivors:
            _log.error("not killed", survivors=report.survivors)

    async def _drain(self) -> None:
        """Read what is still in the pipes. Every writer is dead, so their end is near."""
        self._stdin.close()
        await asyncio.wait({self._stdout.ended, self._stderr.ended}, timeout=self._patience)
        if not (self._stdout.ended.done() and self._stderr.ended.done()):
            _log.error("output has no end")


def _listener(run: Run, stream: str) -> Callable[[bytes], None] | None:
    return None if run.on_output is None else partial(run.on_output, stream)


class Feed:
    """Writes the ticket into a pipe, then closes it, which is the end of file.

    What fits into the pipe is there at once. A script that is started afterwards has its whole
    ticket, whatever becomes of the mediator: it can never take a part of one for the whole.
    """

    def __init__(self, descriptor: int, content: bytes) -> None:
        self._descriptor = descriptor
        self._rest = memoryview(content)
        self._waiting = False
        os.set_blocking(descriptor, False)
        if len(content) > _CHUNK:
            with contextlib.suppress(OSError):  # no more than the user may have, pipe(7)
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, min(len(content), _LARGEST_PIPE))
        self._write()

    def _write(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._descriptor, self._rest[:_CHUNK]) :]
        except BlockingIOError:
            self._wait()
        except BrokenPipeError:  # a script need not read its ticket
            self.close()
        else:
            self.close()

    def _wait(self) -> None:
        if not self._waiting:
            asyncio.get_running_loop().add_writer(self._descriptor, self._write)
            self._waiting = True

    def close(self) -> None:
        """Stop writing; does nothing the second time."""
        if self._descriptor < 0:
            return
        if self._waiting:
            asyncio.get_running_loop().remove_writer(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


class Drain:
    """Reads a pipe to its end, so that the script never blocks, and keeps a bounded part.

    `ended` is done at the end of file. `listener` hears each chunk as it comes.
    """

    def __init__(
        self, descriptor: int, limit: int, listener: Callable[[bytes], None] | None = None
    ) -> None:
        self._descriptor = descriptor
        self._listener = listener
        self._kept = BoundedOutput(limit)
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._read)

    @property
    def inode(self) -> int:
        """The number of the pipe, the same at both ends."""
        return os.fstat(self._descriptor).st_ino

    @property
    def kept(self) -> BoundedOutput:
        """What was written until now."""
        return self._kept

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._descriptor, _CHUNK)  # one only: other attempts wait for the loop
            if chunk:
                self._take(chunk)
            else:
                self.close()

    def _take(self, chunk: bytes) -> None:
        self._kept.add(chunk)
        if self._listener is not None:
            self._listener(chunk)

    def close(self) -> None:
        """Stop reading; does nothing the second time."""
        if self._descriptor < 0:
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if not self.ended.done():
            self.ended.set_result(None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """Both ends of everything. All are closed on exec."""

    status: socket.socket
    """the daemon's end, as are the next three"""
    stdin: Feed
    stdout: int
    stderr: int
    theirs: tuple[int, int, int, int]
    """the other ends: status, stdin, stdout, stderr"""


@contextlib.contextmanager
def channels(stdin: bytes) -> Iterator[Channels]:
    """Open them, with `stdin` on its way to the script already.

    The other ends are closed at the end, and after an error the daemon's ends too.

    Raises OSError when there are no descriptors left.
    """
    with contextlib.ExitStack() as others, contextlib.ExitStack() as ours:
        status, their_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        others.callback(their_status.close)
        ours.callback(status.close)
        feed, their_stdin = _feed(stdin, read=others)
        ours.callback(feed.close)
        stdout, their_stdout = _pipe(read=ours, write=others)
        stderr, their_stderr = _pipe(read=ours, write=others)
        yield Channels(
            status=status,
            stdin=feed,
            stdout=stdout,
            stderr=stderr,
            theirs=(their_status.fileno(), their_stdin, their_stdout, their_stderr),
        )
        ours.pop_all()


def _feed(content: bytes, *, read: contextlib.ExitStack) -> tuple[Feed, int]:
    reading, writing = os.pipe()
    read.callback(os.close, reading)
    return Feed(writing, content), reading


def _pipe(*, read: contextlib.ExitStack, write: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    read.callback(os.close, reading)
    write.callback(os.close, writing)
    return reading, writing


def specify(run: Run, directory: Path) -> bytes:
    """Describe an attempt for `launcher.py`.

    Strings travel as bytes decoded by Latin-1, so that arguments which are not UTF-8 survive.
    Raises ValueError for what no process can be given: NUL bytes, `=` in a variable's name, or
    characters that the file system's encoding lacks (UnicodeEncodeError is a ValueError).
    """
    if any(not name or "=" in name for name in run.environment):
        raise ValueError("a variable's name is empty or contains '='")
    return json.dumps(
        {
            "argv": [_text(part) for part in (str(run.program), *run.arguments)],
            "environment": {_text(k): _text(v) for k, v in run.environment.items()},
            "directory": _text(str(directory)),
            "limits": list(_limits(run.limits)),
        }
    ).encode()


def _text(value: str) -> str:
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise ValueError("an argument or variable contains a NUL byte")
    return encoded.decode("latin-1")


def _limits(limits: Limits) -> Iterator[tuple[int, tuple[int, int]]]:
    """Number, soft and hard bound of each limit, as setrlimit(2) takes them."""
    yield resource.RLIMIT_CORE, (0, 0)  # a core dump would hold the ticket
    if limits.cpu is not None:
        seconds = math.ceil(limits.cpu.total_seconds())
        yield resource.RLIMIT_CPU, (seconds, seconds + 1)  # SIGXCPU first, so that the cause shows
    for number, bound in (
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_AS, limits.memory),  # the last one, for the launcher's child obeys it too
    ):
        if bound is not None:
            yield number, (bound, bound)


def kill_orphans(session: int, directory: Path, pipes: Collection[int]) -> int:
    """SIGKILL the processes of an attempt; returns how many.

    They are in the session of the script, or work in its working directory, or have one of its
    output pipes (inode numbers) open for writing. Nobody else does: all three are the attempt's.
    """
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        found = {
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and _belongs(process, session, directory, pipes)
        } - killed
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        if not found:
            break
    return len(killed)


def _belongs(process: Path, session: int, directory: Path, pipes: Collection[int]) -> bool:
    try:
        return (
            os.getsid(int(process.name)) == session
            or (process / "cwd").readlink().is_relative_to(directory)
            or any(_writes_to(link, pipes) for link in (process / "fd").iterdir())
        )
    except OSError:  # it has ended, or is another user's
        return False


def _writes_to(link: Path, pipes: Collection[int]) -> bool:
    """Whether a descriptor is the writing end: the daemon's own end reads (see proc_pid_fd(5))."""
    with contextlib.suppress(OSError):
        return link.stat().st_ino in pipes and bool(link.lstat().st_mode & stat.S_IWUSR)
    return False
