"""A delivery store in memory: everything that a store promises, except to outlive its process.

For tests, of this program and of what others build on it. It is SQLite without a file: the same
statements and the same transactions, in a few milliseconds, with nothing to lock or to sync.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from mediator.metrics import Metrics
from mediator.storage.schema import HISTORY
from mediator.storage.store import SqlStore, unavailable

T = TypeVar("T")


class MemoryStore(SqlStore):
    """Implements `DeliveryStore` in the memory of this process."""

    def __init__(self, *, metrics: Metrics | None = None) -> None:
        super().__init__(MemoryDatabase(), metrics=metrics)


class MemoryDatabase:
    """One connection, which is the database; whoever uses it has it alone."""

    alone = True
    patience = None  # nothing can keep it waiting but those before it

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )

        @event.listens_for(self._engine, "connect")
        def prepare(connection: Any, _record: object) -> None:
            # None: the driver never begins a transaction by itself; the listener below does.
            connection.isolation_level = None
            connection.execute("PRAGMA foreign_keys=ON").close()

        @event.listens_for(self._engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    def open(self) -> None:
        """Make the tables."""
        self.write(HISTORY.upgrade)

    def close(self) -> None:
        """Forget everything."""
        with self._turn:
            self._engine.dispose()

    def write(self, work: Callable[[Connection], object]) -> None:
        """Run `work` in one transaction and commit it. Raises `StoreUnavailable`."""
        try:
            with self._turn, self._engine.begin() as connection:
                work(connection)
        except DBAPIError as error:
            raise unavailable(error) from error

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` between two writes; what it should change is undone."""
        try:
            with self._turn, self._engine.connect() as connection:
                return work(connection)
        except DBAPIError as error:
            raise unavailable(error) from error

    def vacuum_step(self, connection: Connection) -> bool:
        """Nothing: memory that is unused is used again."""
        del connection
        return False

    def free(self) -> None:
        """None: it is not on a disk."""
