"""SQLite behind the store: one connection that writes, a few that read, one mediator at a time.

`synchronous=FULL` in WAL mode makes every commit an fsync of the log
(https://www.sqlite.org/pragma.html#pragma_synchronous): what was committed survives a power cut.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import structlog
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mediator.errors import SettingsError, StoreUnavailable
from mediator.metrics import Metrics
from mediator.storage.schema import HISTORY, SchemaHistory
from mediator.storage.store import READERS, SqlStore, cause, unavailable

_log = structlog.get_logger()
T = TypeVar("T")

APPLICATION_ID = int.from_bytes(b"medi", "big")
"""In the file's header (https://www.sqlite.org/pragma.html#pragma_application_id)."""
LOCK_WAIT = 2.0
"""Seconds a statement waits for another process that has locked the file."""
LONGEST_LOG = 64 * 2**20
"""Bytes of the write-ahead log above which the writer waits for readers, to begin it anew."""
STEP = 256
"""Pages given back in one transaction: 1 MiB in a file of the usual 4 KiB pages."""


class SqliteStore(SqlStore):
    """Implements `DeliveryStore` on one file that this process holds alone."""

    def __init__(
        self,
        path: Path,
        *,
        metrics: Metrics | None = None,
        lock_wait: float = LOCK_WAIT,
        longest_log: int = LONGEST_LOG,
    ) -> None:
        database = SqliteDatabase(path, lock_wait=lock_wait, longest_log=longest_log)
        super().__init__(database, metrics=metrics)


class SqliteDatabase:
    """One database file, held by this process alone."""

    alone = True
    patience = None  # a local file answers, or fails by itself

    def __init__(
        self,
        path: Path,
        *,
        lock_wait: float = LOCK_WAIT,
        longest_log: int = LONGEST_LOG,
        history: SchemaHistory = HISTORY,
    ) -> None:
        """`lock_wait` in seconds, `longest_log` in bytes."""
        self.path = path.resolve()  # two names of one file have one lock
        self._history = history
        self._lock: int | None = None
        self._identity: FileIdentity | None = None
        self._writer = _engine(self.path, begin="BEGIN IMMEDIATE", pool_size=1, wait=lock_wait)
        self._reader = _engine(
            self.path, begin="BEGIN", pool_size=READERS, wait=lock_wait, reads_only=True
        )
        self._longest_log = self._log_bound = longest_log

    def open(self) -> None:
        """Create, lock and upgrade the file. Raises `SettingsError` when that cannot be."""
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = _lock(self.path)
            with self._writer.begin() as connection:
                _check_mode(connection, self.path)
                _claim_file(connection, self.path)
                self._history.upgrade(connection)
            self._identity = FileIdentity(self.path)
        except (OSError, DBAPIError) as error:
            self.close()
            raise SettingsError(
                f"store.url: cannot open {self.path}: {cause(error)}; it must be a file of the"
                " mediator, in a directory where the user it runs as may write"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._writer.dispose()
        self._reader.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, work: Callable[[Connection], object]) -> None:
        """Run `work` in one transaction and commit it. Raises `StoreUnavailable`."""
        assert self._identity is not None, "used before it was opened"  # noqa: S101
        try:
            with self._writer.connect() as connection:
                with connection.begin():
                    work(connection)
                    log_size = self._identity.check()  # a commit to a deleted file would succeed
                self._bound_log(connection, log_size)
        except (DBAPIError, PoolTimeout) as error:
            # A connection that met a full disk or a lost file is not trusted again.
            self._writer.dispose()
            raise unavailable(error) from error

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot, beside the writer. Raises `StoreUnavailable`."""
        try:
            with self._reader.begin() as connection:
                return work(connection)
        except (DBAPIError, PoolTimeout) as error:
            self._reader.dispose()
            raise unavailable(error) from error

    def _bound_log(self, connection: Connection, size: int) -> None:
        """Begin the log anew; by itself SQLite does so only when no reader happens to need it.

        https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files
        """
        if size < self._log_bound:
            return
        raw = _raw(connection)
        try:
            busy, *_ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except raw.Error as error:  # what was written is safe all the same
            busy = True
            _log.warning("write-ahead log not emptied", reason=str(error))
        # A reader that stays is not met often.
        self._log_bound = size * 2 if busy else self._longest_log

    def vacuum_step(self, connection: Connection) -> bool:
        """Shorten the file by `STEP` pages if many are free; whether there is more to give back.

        A file that was made without `auto_vacuum` cannot be shortened; its free pages are used
        again (https://www.sqlite.org/pragma.html#pragma_auto_vacuum).
        """
        if _pragma(connection, "auto_vacuum") != _INCREMENTAL:
            return False
        before = _pragma(connection, "freelist_count")
        if before * _SPARE <= _pragma(connection, "page_count"):
            return False
        # A page for each row that is read.
        _raw(connection).execute(f"PRAGMA incremental_vacuum({STEP})").fetchall()
        return _pragma(connection, "freelist_count") < before

    def free(self) -> int:
        """Bytes free on its disk. Raises `StoreUnavailable`."""
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise unavailable(error) from error


_SPARE = 10
"""One page in so many stays free for what comes."""
_INCREMENTAL = 2


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _raw(connection: Connection) -> Any:
    """The driver's connection: these pragmas are read to their end, or work outside of begin."""
    raw = connection.connection.driver_connection
    assert raw is not None  # noqa: S101 - it has just been used
    return raw


_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000")
_FIRST = ("auto_vacuum=INCREMENTAL",)
"""Possible only before anything is in the file: then what is removed can be given back."""


def _engine(
    path: Path, *, begin: str, pool_size: int, wait: float, reads_only: bool = False
) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,  # an error that is logged must not hold a ticket
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args={"check_same_thread": False, "timeout": wait},
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


# The file: held by one mediator, written by a mediator, and still in its place.


def _lock(path: Path) -> int:
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


def _check_mode(connection: Connection, path: Path) -> None:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal":
        raise SettingsError(
            f"store.url: the file system of {path} cannot keep a write-ahead log, as network file"
            " systems cannot; use a local disk or a block volume"
        )


def _claim_file(connection: Connection, path: Path) -> None:
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


class FileIdentity:
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


@contextmanager
def read_only(path: Path) -> Iterator[Connection | None]:
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
