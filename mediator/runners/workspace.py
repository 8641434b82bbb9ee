"""Working directories: each attempt gets an empty one of its own, and none is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import structlog

from mediator.errors import SettingsError

_PREFIX = "runner-"
_log = structlog.get_logger(__name__)


class Workspace:
    """The place of one runner under a directory that several runners and daemons may share.

    Each has a subdirectory that it holds locked (flock), so a subdirectory without a lock is that
    of a dead daemon, and the next `open` removes it.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._own: Path | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Remove what dead daemons left and take a place. Raises SettingsError."""
        if self._own is not None:
            return
        try:
            await asyncio.to_thread(self._open)  # what was left may be large
        except OSError as error:
            raise SettingsError(
                f"cannot make working directories for scripts in {self._base}: {error.strerror}"
            ) from error

    def _open(self) -> None:
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._base):  # between making a place and locking it nobody may look
            for place in self._base.glob(f"{_PREFIX}*"):
                _remove_if_stale(place)
            self._own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._base.absolute()))
            self._lock = _lock(self._own, fcntl.LOCK_EX)

    def make(self, name: str) -> Path:
        """Make an empty directory (mode 0700), named after the attempt. Raises OSError."""
        readable = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]
        return Path(tempfile.mkdtemp(prefix=f"{readable}-", dir=self._own))

    async def remove(self, directory: Path) -> None:
        """Remove an attempt's directory with all that is in it."""
        if not _remove_empty(directory):  # most scripts leave nothing, and no thread is needed
            await asyncio.to_thread(_remove, directory)

    async def close(self) -> None:
        """Give the place up."""
        if self._own is None or self._lock is None:
            return
        await asyncio.to_thread(_remove, self._own)
        os.close(self._lock)
        self._own = self._lock = None


def _remove_if_stale(place: Path) -> None:
    with contextlib.suppress(BlockingIOError, NotADirectoryError):
        lock = _lock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(place)
        os.close(lock)
        _log.info("stale working directory removed", directory=str(place))


def _remove_empty(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def _remove(directory: Path) -> None:
    try:
        _make_writable(directory)
        shutil.rmtree(directory)
    except FileNotFoundError:  # the script removed it itself
        pass
    except OSError as error:
        _log.warning("working directory not removed", directory=str(directory), error=str(error))


def _make_writable(directory: Path) -> None:
    """Give back the rights that a script took away from its directories."""
    directory.chmod(0o700)
    for parent, children, _ in os.walk(directory):  # from the top: it lists a child after this
        for child in children:
            path = Path(parent, child)
            if not path.is_symlink():
                path.chmod(0o700)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = _lock(directory, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def _lock(directory: Path, how: int) -> int:
    """Open and lock a directory; closing the descriptor unlocks it. Raises BlockingIOError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
