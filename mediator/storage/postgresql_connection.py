"""A connection to PostgreSQL that gives up in seconds, whatever happens to the network.

libpq reads the URL, so that its `sslmode`, several hosts, `target_session_attrs` and service files
work as everywhere (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS).
What the URL does not say is said here: a peer that is gone is noticed by the kernel, one that holds
its connection and says nothing by `PatientConnection`, and a mediator that stands still in the
middle of a transaction is cut off by the server, so that nobody waits for its locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SILENCE = 10.0
"""Seconds without a byte from the server after which a statement is given up."""
STATEMENT = "8s"
"""After which the server ends a statement, and says so."""
STANDSTILL = "10s"
"""After which the server ends a transaction that its mediator does not go on with."""
_DEFAULTS = {
    "application_name": "mediator",
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# Turned off at the server, a commit would be answered before it is on disk.
_SESSION = f"""
SET statement_timeout = '{STATEMENT}';
SET idle_in_transaction_session_timeout = '{STANDSTILL}';
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""
_NOTHING_READY = 0


class PatientConnection(psycopg.Connection[Any]):
    """Gives up when the server is silent for `patience` seconds; None: never."""

    patience: float | None = SILENCE

    def wait(self, gen: PQGen[Any], *how: Any, **more: Any) -> Any:
        """As psycopg waits for everything, but not for ever."""
        return super().wait(self._bounded(gen), *how, **more)

    def _bounded(self, gen: PQGen[Any]) -> PQGen[Any]:
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready != _NOTHING_READY:
                    heard = time.monotonic()
                elif self.patience is not None and time.monotonic() - heard > self.patience:
                    self.close()
                    raise psycopg.OperationalError(
                        f"the database has been silent for {self.patience:g} seconds"
                    )
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where the database is, and how to get in."""

    url: str
    """as `postgresql://user@host/db?...`, without a password"""
    password: Callable[[], str | None] = lambda: None
    """asked for every connection, so that a new password needs no restart"""

    @property
    def conninfo(self) -> str:
        """The URL with what it leaves open."""
        return make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(self.url)})

    def connect(self, *, reads_only: bool = False) -> PatientConnection:
        """A connection for transactions. Raises `psycopg.Error`."""
        connection = PatientConnection.connect(self.conninfo, autocommit=True, **self._secret())
        with _closed_on_error(connection):
            connection.execute(_SESSION)
            connection.autocommit = False
            if reads_only:  # all that one read looks at is of one moment
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection

    def connect_at_leisure(self) -> PatientConnection:
        """A connection for what may take minutes. Raises `psycopg.Error`."""
        connection = self.connect()
        with _closed_on_error(connection):
            connection.patience = None
            connection.execute("SET statement_timeout = 0")
            connection.commit()
        return connection

    async def listen(self, channel: str) -> psycopg.AsyncConnection[Any]:
        """A connection that hears notices of `channel`. Raises `psycopg.Error`."""
        connection = await psycopg.AsyncConnection.connect(
            self.conninfo, autocommit=True, **self._secret()
        )
        try:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except BaseException:
            await connection.close()
            raise
        return connection

    def _secret(self) -> dict[str, Any]:
        password = self.password()
        return {} if password is None else {"password": password}


@contextmanager
def _closed_on_error(connection: PatientConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise
