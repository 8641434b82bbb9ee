"""Finds what is left of an attempt whose supervisor is gone.

The launcher kills what a dead supervisor leaves. This is for when the launcher died with it, and so
is only as good as what a process shows of its origin.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Collection
from pathlib import Path

_ROUNDS = 20  # what is killed may just have forked


def kill_remains(session: int, directory: Path, pipes: Collection[int]) -> int:
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
