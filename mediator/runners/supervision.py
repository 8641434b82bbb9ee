"""The daemon's side of one supervisor: what it reports, and what it can be told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import dataclass


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
        """process id, session and process group of the script, before it runs"""
        self._supervisor: int | None = None
        self._refused: Refused | None = None
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
        elif word == "refused":
            self._refused = Refused(errno=int(fields[0]), step=fields[1])
        else:
            self.close()
            self.end.set_result(self._refused or _report(fields))


def _report(fields: list[str]) -> Finished | Vanished:
    if fields:
        status, asked, leftovers, survivors = map(int, fields)
        return Finished(status=status, asked=asked == 1, leftovers=leftovers, survivors=survivors)
    return Vanished(reason="its supervising process was killed, so how the script ended is unknown")
