"""SQLite behind the store: one connection that writes, a few that read, one mediator at a time.

`synchronous=FULL` in WAL mode makes every commit an fsync of the log
(https://www.sqlite.org/pragma.html#pragma_synchronous): what was committed survives a power cut.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mediator.errors import SettingsError, StoreUnavailable
from mediator.storage import sqlite_file
from mediator.storage.schema import upgrade

_log = structlog.get_logger()
T = TypeVar("T")

LOCK_WAIT = 2.0
"""Seconds a statement waits for another process that has locked the file."""
LONGEST_LOG = 64 * 2**20
"""Bytes of the write-ahead log above which the writer waits for readers, to begin it anew."""
_READERS = 4
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000")
_FIRST = ("auto_vacuum=INCREMENTAL",)
"""Possible only before anything is in the file: then what is removed can be given back."""


class SqliteDatabase:
    """One database file, held by this process alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()  # two names of one file have one lock
        self._lock: int | None = None
        self._place: sqlite_file.Place | None = None
        self._writer = _engine(self.path, begin="BEGIN IMMEDIATE", pool_size=1)
        self._reader = _engine(self.path, begin="BEGIN", pool_size=_READERS, reads_only=True)
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        self._log_bound = LONGEST_LOG

    def open(self) -> None:
        """Create, lock and upgrade the file. Raises `SettingsError` when that cannot be."""
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = sqlite_file.lock(self.path)
            with self._writer.begin() as connection:
                _check_mode(connection, self.path)
                sqlite_file.take(connection, self.path)
                upgrade(connection)
            self._place = sqlite_file.Place(self.path)
        except (OSError, DBAPIError) as error:
            self.close()
            raise SettingsError(
                f"store.url: cannot open {self.path}: {_cause(error)}; it must be a file of the"
                " mediator, in a directory where the user it runs as may write"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._threads.shutdown()
        self._writer.dispose()
        self._reader.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def transaction(self, work: Callable[[Connection], None]) -> None:
        """Run `work` in one transaction and commit it. Raises `StoreUnavailable`."""
        assert self._place is not None, "used before it was opened"  # noqa: S101
        try:
            with self._writer.connect() as connection:
                with connection.begin():
                    work(connection)
                    log_size = self._place.check()  # a commit to a deleted file would succeed
                self._bound_log(connection, log_size)
        except (DBAPIError, PoolTimeout) as error:
            # A connection that met a full disk or a lost file is not trusted again.
            self._writer.dispose()
            raise _unavailable(error) from error

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot, beside the writer. Raises `StoreUnavailable`."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)
        except RuntimeError as error:  # the threads are gone
            raise StoreUnavailable("the store is closed; the mediator is not running") from error
        return await reading

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._reader.begin() as connection:
                return work(connection)
        except (DBAPIError, PoolTimeout) as error:
            self._reader.dispose()
            raise _unavailable(error) from error

    def free(self) -> int:
        """Bytes free on its disk. Raises `StoreUnavailable`."""
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise _unavailable(error) from error

    def _bound_log(self, connection: Connection, size: int) -> None:
        """Begin the log anew; by itself SQLite does so only when no reader happens to need it.

        https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
        """
        if size < self._log_bound:
            return
        raw = connection.connection.driver_connection
        assert raw is not None  # noqa: S101 - it has just written
        try:
            busy, *_ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except raw.Error as error:  # what was written is safe all the same
            busy = True
            _log.warning("write-ahead log not emptied", reason=str(error))
        self._log_bound = size * 2 if busy else LONGEST_LOG  # a reader that stays is not met often


def _engine(path: Path, *, begin: str, pool_size: int, reads_only: bool = False) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,  # an error that is logged must not hold a ticket
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args={"check_same_thread": False, "timeout": LOCK_WAIT},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # None: the driver never begins a transaction by itself; the listener below does.
        connection.isolation_level = None
        first = _FIRST if not path.exists() or not path.stat().st_size else ()
        for pragma in (*first, *_PRAGMAS, f"query_only={int(reads_only)}"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _check_mode(connection: Connection, path: Path) -> None:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal":
        raise SettingsError(
            f"store.url: the file system of {path} cannot keep a write-ahead log, as network file"
            " systems cannot; use a local disk or a block volume"
        )


def _cause(error: Exception) -> object:
    return getattr(error, "orig", None) or error


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the store cannot be used now: {_cause(error)}; nothing was stored")
