"""When to look at the scripts directory: when the kernel says so, and now and then anyway.

What has changed is found out by looking, never by what the kernel tells: it tells nothing of what
another machine does on a network file system, of a mount over the directory, or of another
directory that takes its name; and its queue can overflow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

import structlog
from watchfiles import awatch

from mediator.settings.schema import Scripts, Watch

_log = structlog.get_logger()

_TICK = 500
"""Milliseconds between two looks at whether the directory is still the same one."""
_STEP = 20
"""Milliseconds without news after which news are passed on."""
_TOGETHER = 200
"""Milliseconds for which news are collected at most."""
_SWEEP = 10.0
"""Seconds after which `auto` looks without being told."""
_REMOTE = ("9p", "afs", "ceph", "cifs", "fuse", "gfs2", "glusterfs", "lustre", "nfs", "ocfs2")
_MORE_REMOTE = ("prl_fs", "smb", "vboxsf", "virtiofs", "vmhgfs")


class DirectoryWatcher:
    """Sets `due` whenever it is time to look."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._remote = False
        self._complained = False
        self.due = asyncio.Event()

    @property
    def idle(self) -> float | None:
        """Seconds after which to look although nothing was told; None: never."""
        if self._scripts.watch is Watch.NEVER:
            return None
        return self._poll if self._polls else max(_SWEEP, self._poll)

    @property
    def _poll(self) -> float:
        return self._scripts.poll_every.total_seconds()

    @property
    def _polls(self) -> bool:
        return self._remote or self._scripts.watch is Watch.POLL

    async def listen(self) -> None:
        """Pass on what the kernel tells, until cancelled."""
        if self._scripts.watch is not Watch.AUTO:
            return
        while True:
            try:
                self._remote = await asyncio.to_thread(is_remote, self._scripts.directory)
                await self._listen(await asyncio.to_thread(places, self._scripts.directory))
                self._complained = False
            except (OSError, RuntimeError) as error:  # the latter is what watchfiles raises
                self._complain(error)
                await asyncio.sleep(self._poll)
            self.due.set()

    def _complain(self, error: Exception) -> None:
        """Once: that the directory is not there is told by who looks at it."""
        if not self._complained and not isinstance(error, FileNotFoundError):
            _log.warning("scripts directory not watched but polled", reason=str(error))
            self._complained = True

    async def _listen(self, watched: Mapping[Path, object]) -> None:
        """Return when what is watched is no longer what should be."""
        news = awatch(
            *watched,
            watch_filter=None,
            debounce=_TOGETHER,
            step=_STEP,
            rust_timeout=_TICK,
            yield_on_timeout=True,
            recursive=False,
        )
        first = True
        async with aclosing(news):
            async for changes in news:
                if changes or first:  # what changed before the kernel was asked is found too
                    self.due.set()
                first = False
                if await asyncio.to_thread(_moved, watched, self._scripts.directory, changes):
                    return


def places(directory: Path) -> Mapping[Path, object]:
    """Where the scripts are: the directory, and those that links in it lead to; and which they are.

    Raises OSError when the directory is not there.
    """
    with os.scandir(directory) as entries:
        links = [Path(entry.path) for entry in entries if entry.is_symlink()]
    parents = {link.resolve().parent for link in links}
    found = {path: _identity(path) for path in (directory, *sorted(parents))}
    return {path: identity for path, identity in found.items() if identity is not None}


def _moved(watched: Mapping[Path, object], directory: Path, changes: Iterable[object]) -> bool:
    """Whether other directories than these should be watched now."""
    if any(_identity(path) != identity for path, identity in watched.items()):
        return True
    return any(changes) and places(directory).keys() != watched.keys()


def _identity(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_remote(directory: Path) -> bool:
    """Whether other machines may write to it, of which the kernel tells nothing."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return file_system_of(directory.resolve(), mounts).startswith((*_REMOTE, *_MORE_REMOTE))


def file_system_of(directory: Path, mounts: str) -> str:
    """The type of the file system, by /proc/self/mountinfo; see proc_pid_mountinfo(5)."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(fields.split(" ")[4].replace("\\040", " "))
        depth = len(point.parts)
        if directory.is_relative_to(point) and depth >= best:
            best, kind = depth, rest.partition(" ")[0]
    return kind
