"""SQLite behind the store: one connection that writes, a few that read, one mediator at a time.

`synchronous=FULL` in WAL mode makes every commit an fsync of the log
(https://www.sqlite.org/pragma.html#pragma_synchronous): what was committed survives a power cut.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mediator.errors import SettingsError, StoreUnavailable
from mediator.storage.schema import upgrade

T = TypeVar("T")

LOCK_WAIT_MS = 2000
"""How long a statement waits for another process that has locked the file."""
_READERS = 4


class SqliteDatabase:
    """One database file, held by this process alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._writer = _engine(path, begin="BEGIN IMMEDIATE", pool_size=1)
        self._reader = _engine(path, begin="BEGIN", pool_size=_READERS)
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")

    def open(self) -> None:
        """Create, lock and upgrade the file. Raises `SettingsError` when that cannot be."""
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = _lock(self.path)
            with self._writer.connect() as connection:
                upgrade(connection)
        except (OSError, DBAPIError) as error:
            cause = getattr(error, "orig", None) or error
            raise SettingsError(
                f"store.url: cannot open {self.path}: {cause}; the directory must be writable by"
                " the user the mediator runs as"
            ) from error

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
        try:
            with self._writer.begin() as connection:
                work(connection)
        except (DBAPIError, PoolTimeout) as error:
            # A connection that met a full disk or a lost file is not trusted again.
            self._writer.dispose()
            raise _unavailable(error) from error

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot, beside the writer. Raises `StoreUnavailable`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._reader.begin() as connection:
                return work(connection)
        except (DBAPIError, PoolTimeout) as error:
            raise _unavailable(error) from error


def _engine(path: Path, *, begin: str, pool_size: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args={"check_same_thread": False, "timeout": LOCK_WAIT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # None: the driver never begins a transaction by itself; the listener below does.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={LOCK_WAIT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _lock(path: Path) -> int:
    """Hold `PATH.lock` as long as this process lives; the kernel lets go when it dies."""
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingsError(
            f"store.url: another mediator is using {path}; stop it first, or give this one a"
            " store of its own"
        ) from None
    return descriptor


def _unavailable(error: Exception) -> StoreUnavailable:
    cause = getattr(error, "orig", None) or error
    hint = "" if isinstance(error, OperationalError) else f" ({type(error).__name__})"
    return StoreUnavailable(f"the store cannot be used now: {cause}{hint}; nothing was stored")
