"""A whole copy of the store, made while a mediator works with it.

SQLite's online backup copies what is committed at one moment
(https://www.sqlite.org/backup.html). All of it is copied in one step: in WAL mode that keeps
nobody from writing, while a copy in many steps would begin anew at every commit of the mediator.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from mediator.errors import MediatorError
from mediator.storage.sqlite import APPLICATION_ID


class BackupFailed(MediatorError):
    """There is no backup; what was at its place before is there still."""


def back_up(store: Path, target: Path) -> int:
    """Copy the store to `target`, which appears whole or not at all; its size in bytes.

    A file that is there already is replaced. Raises `BackupFailed`.
    """
    _refuse(store, target)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        _create(fresh)
        _copy(store, fresh)
        _sync(fresh)
        size = fresh.stat().st_size
        fresh.replace(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"cannot back up {store} to {target}: {error}") from error
    finally:
        for leftover in (fresh, *(fresh.with_name(fresh.name + end) for end in _BESIDE)):
            leftover.unlink(missing_ok=True)
    return size


_BESIDE = ("-journal", "-wal", "-shm")


def _refuse(store: Path, target: Path) -> None:
    """What must not be copied, or not be written over."""
    if not store.is_file():
        raise BackupFailed(f"there is no store at {store}; the settings name it as store.url")
    own = {store.resolve().with_name(store.resolve().name + end) for end in ("", ".lock", *_BESIDE)}
    if target.resolve() in own:
        raise BackupFailed(f"{target} belongs to the store itself; name another file")
    if target.exists() and not target.is_file():
        raise BackupFailed(f"{target} is not a file; name a file for the backup")


def _create(path: Path) -> None:
    """An empty file for its owner's eyes: tickets are in it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _copy(store: Path, fresh: Path) -> None:
    uri = f"{store.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(fresh)) as copy:
        if source.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise BackupFailed(f"{store} is not a mediator's store")
        copy.execute("PRAGMA synchronous=OFF")  # it is synced as a whole, before it has its name
        source.backup(copy)
        # One file is all there is of it; a mediator that opens it begins a log again.
        copy.execute("PRAGMA journal_mode=DELETE")
        wrong = [line for (line,) in copy.execute("PRAGMA quick_check(3)") if line != "ok"]
        if wrong:
            raise BackupFailed(f"the copy of {store} is damaged, as the store must be: {wrong[0]}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
