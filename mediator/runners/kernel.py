"""What launcher, supervisors and scripts' processes ask of the kernel. See `launcher.py`.

A part of that program, which loads it: like that, it imports nothing of the mediator.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import select
import signal
import socket
import time

TYPE_CHECKING = False  # importing `typing` would cost a third of the start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SET_PARENT_DEATH_SIGNAL, SET_NAME, SET_CHILD_SUBREAPER = 1, 15, 36  # prctl(2)
DESCRIPTORS = 5  # of an order: status socket, stdin, stdout, stderr, specification
REAPED_AT_ONCE = 64
RESCAN = (0.01, 1.0)  # first and longest time in seconds between two looks at what does not die

prctl = ctypes.CDLL(None, use_errno=True).prctl


class Leave(BaseException):
    """Raised by a `become`: this process is the script's from now on, and `run` is left."""


def set_process(name: str) -> None:
    """Take a name that `ps` shows, and become the parent of orphans below. Raises OSError."""
    prctl(SET_NAME, name.encode(), 0, 0, 0)
    if prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Wakeup:
    """A pipe that becomes readable when a child changes state."""

    def __init__(self) -> None:
        self.read, self._write = os.pipe()
        os.set_blocking(self.read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def drain(self) -> None:
        """Forget the changes so far. Call it before looking at children, never after."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.read, 4096):
                pass

    def wait(self, seconds: float) -> None:
        """Wait for a change."""
        poll = select.poll()
        poll.register(self.read, select.POLLIN)
        poll.poll(seconds * 1000)
        self.drain()

    def close(self) -> None:
        """Let go of the pipe; the wake-up descriptor must point elsewhere by now."""
        os.close(self.read)
        os.close(self._write)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a line for whole messages with descriptors, closed on exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(line: socket.socket, message: bytes, descriptors: list[int]) -> None:
    """Send a message with descriptors, which stay the sender's too. Raises OSError."""
    rights = array.array("i", descriptors)
    line.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive(line: socket.socket) -> tuple[bytes, list[int]]:
    """A message and its descriptors, closed on exec: `socket.recv_fds` would not see to that.

    No message and no descriptors when the other end is gone.
    """
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS * descriptors.itemsize)
    try:
        message, ancillary, _, _ = line.recvmsg(64, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, descriptors.tolist()


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


def fail(daemon: socket.socket, number: int) -> None:
    """Report on an attempt's status socket that there could be no process for it, and why."""
    with contextlib.suppress(OSError):
        daemon.send(b"failed %d fork" % number)


@contextlib.contextmanager
def exit_after() -> Iterator[None]:
    """Keep a forked child from ever returning into its parent's code."""
    leaving = False
    code = 1
    try:
        yield
        code = 0
    except Leave:
        leaving = True
        raise
    finally:
        if not leaving:
            os._exit(code)


def sweep(changes: Wakeup, deadline: float) -> tuple[int, int]:
    """Kill and reap all below: how many died of it, and how many are alive at the deadline.

    What flees by forking dies as fast as it is reaped, so there is no waiting for the last one.
    """
    killed, (pause, longest) = 0, RESCAN
    while True:
        try:
            for _ in range(REAPED_AT_ONCE):
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        except ChildProcessError:
            return killed, 0
        alive = kill_children(spare=frozenset())
        if time.monotonic() > deadline:
            return killed, alive
        changes.wait(pause)
        pause = min(2 * pause, longest)


def kill_children(*, spare: set[int] | frozenset[int]) -> int:
    """SIGKILL the children of this process and their groups; how many were alive.

    A child keeps its number, and its group's, until it is reaped, and only this process reaps it:
    no stranger can be hit. A group is killed in one step, so its members cannot fork away.
    """
    alive = 0
    own = os.getpgrp()
    for pid, group in living_children():  # at once: what flees is another process in a moment
        if pid in spare:
            continue
        alive += 1
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            if group not in (0, 1, own):
                os.killpg(group, signal.SIGKILL)
    return alive


def living_children() -> Iterator[tuple[int, int]]:
    """Number and process group of each child that is not a zombie, by a look through /proc.

    The newest first, for what flees by forking is one of these, and not for long.
    /proc/PID/task/TID/children would be quicker, but not every kernel has it.
    """
    me = os.getpid()
    for name in reversed(os.listdir("/proc")):  # noqa: PTH208 -- pathlib is slow to import
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 -- the same
                state, parent, group, *_ = file.read().rpartition(b") ")[2].split(b" ", 3)
        except OSError:
            continue
        if int(parent) == me and state not in b"ZX":
            yield int(name), int(group)
