"""The SQLite file itself: held by one mediator, written by a mediator, and still in its place."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from mediator.errors import SettingsError, StoreUnavailable

APPLICATION_ID = int.from_bytes(b"medi", "big")
"""In the file's header (https://www.sqlite.org/pragma.html#pragma_application_id)."""


def lock(path: Path) -> int:
    """Hold `PATH.lock` as long as this process lives; the kernel lets go when it dies."""
    descriptor = os.open(
        path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise
        raise SettingsError(
            f"store.url: another mediator is using {path}; stop it first, or give this one a"
            " store of its own"
        ) from None
    return descriptor


def take(connection: Connection, path: Path) -> None:
    """Mark an empty file as a store. Raises `SettingsError` when it holds something else."""
    mark = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if mark == APPLICATION_ID:
        return
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one()
    if mark or tables:
        raise SettingsError(
            f"store.url: {path} is a database of another program; name a file that does not exist"
        )
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")


@contextmanager
def looking(path: Path) -> Iterator[Connection | None]:
    """A connection that changes nothing, also while a mediator works; None: there is no file."""
    if not path.exists():
        yield None
        return
    engine = create_engine(
        f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true", poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise SettingsError(f"store.url: cannot open {path}: {error.orig}") from error
    finally:
        engine.dispose()


STEP = 256
"""Pages given back in one transaction: 1 MiB in a file of the usual 4 KiB pages."""
_SPARE = 10
"""One page in so many stays free for what comes."""
_INCREMENTAL = 2


def give_back(connection: Connection) -> bool:
    """Shorten the file by `STEP` pages if many are free; whether there is more to give back.

    A file that was made without `auto_vacuum` cannot be shortened; its free pages are used again
    (https://www.sqlite.org/pragma.html#pragma_auto_vacuum).
    """
    if _pragma(connection, "auto_vacuum") != _INCREMENTAL:
        return False
    if _pragma(connection, "freelist_count") * _SPARE <= _pragma(connection, "page_count"):
        return False
    raw = connection.connection.driver_connection
    assert raw is not None  # noqa: S101 - it has just been asked
    before = _pragma(connection, "freelist_count")
    raw.execute(f"PRAGMA incremental_vacuum({STEP})").fetchall()  # a page for each row that is read
    return _pragma(connection, "freelist_count") < before


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


class Place:
    """Notices when the file is no longer where it was opened.

    SQLite would go on writing to a deleted file, and every commit would succeed
    (https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._opened = _identity(path)

    def check(self) -> int:
        """The size of the log in bytes. Raises `StoreUnavailable` when a file is gone."""
        try:
            if _identity(self._path) == self._opened:
                return self._log.stat().st_size
            problem = f"{self._path} is not the file that was opened"
        except OSError as error:
            problem = f"{error.filename} cannot be found ({error.strerror})"
        raise StoreUnavailable(
            f"the store cannot be used now: {problem}; put it back, or stop the mediator and"
            " restore it; nothing was stored"
        )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
