"""The daemon's side of one supervisor: what it reports, and what it can be told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
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


Report = Refused | Finished | Vanished


class Supervision:
    """Hears one supervisor out; `end` is its report."""

    def __init__(self, status: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.end: asyncio.Future[Report] = loop.create_future()
        self.script: int | None = None
        """process id, session and process group of the script, once it runs"""
        self._status = status
        status.setblocking(False)
        loop.add_reader(status.fileno(), self._hear)

    def terminate(self) -> None:
        """Send SIGTERM to the script's process group."""
        self._tell(b"T")

    def kill(self) -> None:
        """Kill the script and everything below it."""
        self._tell(b"K")

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
        word, *numbers = message.decode().split() or [""]
        if word == "started":
            self.script = int(numbers[0])
            return
        self.close()
        if not self.end.done():
            self.end.set_result(_report(word, numbers))


def _report(word: str, fields: list[str]) -> Report:
    if word == "refused":
        return Refused(errno=int(fields[0]), step=fields[1])
    if word == "ended":
        status, asked, leftovers, survivors = map(int, fields)
        return Finished(status=status, asked=asked == 1, leftovers=leftovers, survivors=survivors)
    return Vanished(reason="its supervising process was killed, so how the script ended is unknown")


def kill_session(session: int) -> int:
    """SIGKILL every process of a session whose supervisor is gone; returns how many.

    The launcher kills what a dead supervisor leaves. This is for when the launcher died with it.
    A session's number is its leader's, which is free for others only when the session is empty.
    """
    killed = 0
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int(directory.name) != os.getpid() and os.getsid(int(directory.name)) == session:
                os.kill(int(directory.name), signal.SIGKILL)
                killed += 1
    return killed
