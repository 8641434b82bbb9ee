"""Files of the scripts directory: which there are, whether one has changed, and what one holds.

Reading refuses what may not be trusted to run, and what is still being written: a script is taken
when it has been left alone for a moment (debounce), no program has it open for writing, and it
stayed the same file while it was read.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from mediator.errors import SettingsError

READ_AT_MOST = 2**20
"""Bytes read of a file: the metadata of a script is looked for in these."""
QUIET = 0.3
"""Seconds without a change after which a file is taken as whole."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class InvalidScript(Exception):
    """Why a file cannot be run, as a whole sentence that ends in a full stop."""


class BeingWritten(InvalidScript):
    """The file changed while it was read, or a program has it open for writing."""


class Fingerprint(NamedTuple):
    """What the file system says of a file; whoever writes to it or replaces it changes this."""

    device: int
    inode: int
    size: int
    modified: int
    """nanoseconds since 1970; a program can set it"""
    changed: int
    """nanoseconds since 1970; no program can set it"""


MISSING = Fingerprint(0, 0, 0, 0, 0)
"""Of a name that leads to no file."""

FileState = tuple[Path, Fingerprint]
"""A file, and the fingerprint it had when it was read."""


def fingerprint(path: Path) -> Fingerprint:
    """Of what `path` leads to now, of a link that leads nowhere itself, or else `MISSING`."""
    for look in (path.stat, path.lstat):
        try:
            return fingerprint_of(look())
        except OSError:
            continue
    return MISSING


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """From what stat(2) says."""
    return Fingerprint(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def list_files(directory: Path) -> Mapping[str, Fingerprint]:
    """Every name in the directory that leads not to a directory, in alphabetical order.

    Raises `SettingsError` when the directory cannot be listed.
    """
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, _of_entry(entry)) for entry in entries]
    except FileNotFoundError as error:
        what = "does not exist; make it, or name another"
        raise SettingsError(f"scripts.directory: {directory} {what}.") from error
    except OSError as error:
        what = f"cannot be listed ({error.strerror})"
        raise SettingsError(f"scripts.directory: {directory} {what}.") from error
    return {name: state for name, state in sorted(found) if state is not None}


def _of_entry(entry: os.DirEntry[str]) -> Fingerprint | None:
    """None for a directory. A link that leads nowhere has a fingerprint of its own."""
    try:
        status = entry.stat()
    except OSError:
        return _of_link(entry)
    return None if stat.S_ISDIR(status.st_mode) else fingerprint_of(status)


def _of_link(entry: os.DirEntry[str]) -> Fingerprint | None:
    try:
        return fingerprint_of(entry.stat(follow_symlinks=False))
    except OSError:  # it is gone again
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileHead:
    """The beginning of a file, and who may do what with it."""

    data: bytes
    mode: int
    state: Fingerprint = MISSING
    """which version of the file it is the beginning of"""

    @property
    def runnable(self) -> bool:
        """Whether anybody may execute it."""
        return bool(self.mode & 0o111)


def read_head(path: Path, directory: Path) -> FileHead:
    """Read the beginning of a file. `directory` is the scripts directory, resolved.

    Raises `InvalidScript` for what is not a file, what leaves the directory and what cannot be
    read, `BeingWritten` for what changes meanwhile.
    """
    mode = _mode(path)
    target = path.resolve()
    # Links inside are how Kubernetes mounts a ConfigMap: notify.py -> ..data/notify.py.
    if not target.is_relative_to(directory):
        raise InvalidScript(
            f"it is a symbolic link that leaves the scripts directory, to {target}."
        )
    if not stat.S_ISREG(mode):
        raise InvalidScript(f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file.")
    with _opened(path) as file:
        state = fingerprint_of(os.fstat(file.fileno()))
        data = file.read(READ_AT_MOST)
        _refuse_changed(file, state)
    return FileHead(data=data, mode=mode, state=state)


def sha256_of(path: Path, state: Fingerprint) -> str:
    """Of the whole file, in hexadecimal digits.

    Raises `BeingWritten` when it is not, or does not stay, in that state, and when a program has
    it open for writing.
    """
    with _opened(path) as file:
        if has_writer(file.fileno()):
            raise BeingWritten("a program has it open for writing.")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        _refuse_changed(file, state)
    return digest


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except PermissionError as error:
        raise InvalidScript("the mediator's user may not read it; run chmod a+r on it.") from error
    except OSError as error:
        raise InvalidScript(f"it cannot be read ({error.strerror}).") from error


def _refuse_changed(file: BufferedReader, state: Fingerprint) -> None:
    if fingerprint_of(os.fstat(file.fileno())) != state:
        raise BeingWritten("it is being written.")


def has_writer(descriptor: int) -> bool:
    """Whether the file behind a read-only descriptor is open for writing; False if unknown."""
    try:
        # Who opens the file while the lease is held has a signal sent to this process; the usual
        # one would end it, this one is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise InvalidScript("it is a symbolic link to a file that does not exist.") from error
    except OSError as error:
        raise InvalidScript(f"it cannot be looked at ({error.strerror}).") from error


def refuse_writable_by_all(head: FileHead) -> None:
    """Raise `InvalidScript` for a file that anybody can change, and that decides what is run."""
    if head.mode & stat.S_IWOTH:
        raise InvalidScript("every user of this machine may write to it; run chmod o-w on it.")


def refuse_not_executable(path: Path, head: FileHead) -> None:
    """Raise `InvalidScript` for a file that the mediator's user cannot execute."""
    if not head.runnable:
        raise InvalidScript("it is not executable; run chmod +x on it.")
    if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise InvalidScript(
            "the mediator's user may not execute it; run chmod a+x on it, "
            "and see that its file system is not mounted with noexec."
        )


class Debounce:
    """Remembers since when each file has been as it is."""

    def __init__(
        self,
        quiet: float = QUIET,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.quiet = quiet
        self._monotonic = monotonic
        self._wall = wall
        self._seen: dict[str, tuple[Fingerprint, float]] | None = None

    def recent(self, files: Mapping[str, Fingerprint]) -> frozenset[str]:
        """The names of the files, there or not, whose last change is too recent."""
        now = self._monotonic()
        before = self._seen
        states = {**dict.fromkeys(before or (), MISSING), **files}
        self._seen = {
            name: (state, self._since(name, state, before, now)) for name, state in states.items()
        }
        recent = frozenset(
            name for name, (_, since) in self._seen.items() if now - since < self.quiet
        )
        for name in [n for n in states if states[n] is MISSING and n not in recent]:
            del self._seen[name]
        return recent

    def _since(
        self,
        name: str,
        state: Fingerprint,
        before: Mapping[str, tuple[Fingerprint, float]] | None,
        now: float,
    ) -> float:
        """When it became so: as this process saw it, for another machine's clock may be wrong."""
        if before is None:  # at the first look there is only the file system's word
            age = self._wall() - state.changed / 1e9
            return now - max(0.0, age)
        known = before.get(name)
        return known[1] if known is not None and known[0] == state else now
