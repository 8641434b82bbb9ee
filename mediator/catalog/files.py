"""Reading a file of the scripts directory, if it is one that may be trusted to run."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from mediator.catalog.fingerprints import MISSING, Fingerprint, of
from mediator.catalog.unfit import BeingWritten, Unfit
from mediator.catalog.writers import has_writer

READ_AT_MOST = 2**20
"""Bytes read of a file: the metadata of a script is looked for in these."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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

    Raises `Unfit` for what is not a file, what leaves the directory and what cannot be read,
    `BeingWritten` for what changes meanwhile.
    """
    mode = _mode(path)
    target = path.resolve()
    # Links inside are how Kubernetes mounts a ConfigMap: notify.py -> ..data/notify.py.
    if not target.is_relative_to(directory):
        raise Unfit(f"it is a symbolic link that leaves the scripts directory, to {target}.")
    if not stat.S_ISREG(mode):
        raise Unfit(f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file.")
    with _opened(path) as file:
        state = of(os.fstat(file.fileno()))
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
        raise Unfit("the mediator's user may not read it; run chmod a+r on it.") from error
    except OSError as error:
        raise Unfit(f"it cannot be read ({error.strerror}).") from error


def _refuse_changed(file: BufferedReader, state: Fingerprint) -> None:
    if of(os.fstat(file.fileno())) != state:
        raise BeingWritten("it is being written.")


def refuse_writable_by_all(head: FileHead) -> None:
    """Raise `Unfit` for a file that decides what the mediator runs and that anybody can change."""
    if head.mode & stat.S_IWOTH:
        raise Unfit("every user of this machine may write to it; run chmod o-w on it.")


def refuse_not_executable(path: Path, head: FileHead) -> None:
    """Raise `Unfit` for a file that the mediator's user cannot execute."""
    if not head.runnable:
        raise Unfit("it is not executable; run chmod +x on it.")
    if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise Unfit(
            "the mediator's user may not execute it; run chmod a+x on it, "
            "and see that its file system is not mounted with noexec."
        )


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise Unfit("it is a symbolic link to a file that does not exist.") from error
    except OSError as error:
        raise Unfit(f"it cannot be looked at ({error.strerror}).") from error
