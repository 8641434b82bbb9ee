"""The pipes and the socket between the daemon and one attempt."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """Both ends of everything. All are closed on exec."""

    status: socket.socket
    """the daemon's end, as are the next three"""
    stdin: int
    stdout: int
    stderr: int
    theirs: tuple[int, int, int, int]
    """the other ends: status, stdin, stdout, stderr"""


@contextlib.contextmanager
def channels() -> Iterator[Channels]:
    """Open them; close the other ends at the end, and after an error the daemon's ends too.

    Raises OSError when there are no descriptors left.
    """
    with contextlib.ExitStack() as others, contextlib.ExitStack() as ours:
        status, their_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        others.callback(their_status.close)
        ours.callback(status.close)
        their_stdin, stdin = _pipe(read=others, write=ours)
        stdout, their_stdout = _pipe(read=ours, write=others)
        stderr, their_stderr = _pipe(read=ours, write=others)
        yield Channels(
            status=status,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            theirs=(their_status.fileno(), their_stdin, their_stdout, their_stderr),
        )
        ours.pop_all()


def _pipe(*, read: contextlib.ExitStack, write: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    read.callback(os.close, reading)
    write.callback(os.close, writing)
    return reading, writing
