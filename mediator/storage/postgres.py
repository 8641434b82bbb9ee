"""PostgreSQL behind the store: one connection that writes, a few that read, many mediators.

The statements run in threads, as SQLite's do: a thread that waits for the network or for a commit
holds nobody up, and the writer's transactions gather what came meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import structlog
import uuid_utils
from psycopg import errors, sql
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    NullPool,
    Transaction,
    bindparam,
    create_engine,
    func,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential_jitter,
    wait_fixed,
)

from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.storage.notices import Notices
from mediator.storage.postgres_notify import CHANNEL, PostgresNotices
from mediator.storage.schema import HISTORY, SchemaHistory
from mediator.storage.store import READERS, SqlStore, cause, unavailable

_log = structlog.get_logger()
T = TypeVar("T")

LARGEST_GROUP = 100
"""Hand-overs in one transaction: it holds two locks for each, in a table of bounded size
(https://www.postgresql.org/docs/current/runtime-config-locks.html)."""
PATIENCE = 20.0
"""Seconds a read may take with its place in the queue, whatever the network does."""
START_PATIENCE = 30.0
"""Seconds a mediator waits for a database that does not answer when it starts."""
SILENCE = 10.0
"""Seconds without a byte from the server after which a statement is given up."""


class PostgresStore(SqlStore):
    """Implements `DeliveryStore` on a database that other mediators use at the same time."""

    def __init__(
        self,
        server: Server,
        *,
        metrics: Metrics | None = None,
        start_patience: float = START_PATIENCE,
    ) -> None:
        """`start_patience`: seconds to wait at the start for a database that does not answer."""
        notices = Notices()
        self._elsewhere = PostgresNotices(
            notices, name=uuid_utils.uuid4().hex, send=self._send, listen=server.listen
        )
        super().__init__(
            PostgresDatabase(server, start_patience=start_patience),
            metrics=metrics,
            notices=notices,
            tell=self._elsewhere,
            largest_group=LARGEST_GROUP,
        )

    async def start(self) -> None:
        """Look at its schema, and listen. Raises `SettingsError` or `StoreUnavailable`."""
        await super().start()
        self._elsewhere.start()

    async def close(self) -> None:
        """Write what was submitted and let go of the connections."""
        await self._elsewhere.close()
        await super().close()

    async def _send(self, payload: str) -> None:
        await self._snapshot(lambda conn: conn.execute(select(func.pg_notify(CHANNEL, payload))))


class PostgresDatabase:
    """One database, shared with other mediators."""

    alone = False
    patience = PATIENCE

    def __init__(
        self,
        server: Server,
        *,
        start_patience: float = START_PATIENCE,
        history: SchemaHistory = HISTORY,
    ) -> None:
        self._start_patience = start_patience
        self._history = history
        self._writer = _engine(server, pool_size=1)
        self._reader = _engine(server, pool_size=READERS, reads_only=True)

    def open(self) -> None:
        """Wait until it answers, and look at its schema.

        Raises `SettingsError` when it has not the schema of this program, `StoreUnavailable` when
        there is no answer.
        """
        waiting = Retrying(
            retry=retry_if_exception_type(StoreUnavailable),
            stop=stop_after_delay(self._start_patience),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            before_sleep=_not_yet,
            reraise=True,
        )
        try:
            waiting(self.write, self._history.check)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connections."""
        self._writer.dispose()
        self._reader.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot. Raises `StoreUnavailable`."""
        try:
            found: T = _trying()(self._look, work)
        except (DBAPIError, PoolTimeout) as error:
            raise unavailable(error) from error
        return found

    def _look(self, work: Callable[[Connection], T]) -> T:
        with self._reader.begin() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], object]) -> None:
        """Run `work` in one transaction and commit it. Raises `StoreUnavailable`.

        `work` may run more than once: when it crossed another mediator's transaction, or when its
        connection turns out to have been lost. Nothing of the earlier runs is stored.
        """
        try:
            _trying()(self._commit, work)
        except (DBAPIError, PoolTimeout) as error:
            self._writer.dispose()  # the next one may find another server at the same address
            raise unavailable(error) from error

    def _commit(self, work: Callable[[Connection], object]) -> None:
        with self._writer.connect() as connection:
            transaction = connection.begin()
            work(connection)
            number = connection.execute(_NUMBER).scalar()
            lost = _lost(transaction)
        if lost is not None and not self._is_committed(number, lost):
            raise unavailable(lost) from lost

    def _is_committed(self, number: int | None, lost: DBAPIError) -> bool:
        """What became of a transaction whose commit was not answered: the server remembers.

        Raises `StoreUnavailable` when it cannot be asked, or does not know.
        """
        asking = Retrying(
            retry=retry_if_result(lambda found: found == "in progress"),
            stop=stop_after_delay(_SOON),
            wait=wait_fixed(0.05),
            retry_error_callback=lambda _: None,
        )
        try:
            found = asking(self._ask, number)
        except DBAPIError as error:
            raise _unsure(error) from lost
        if found not in {"committed", "aborted"}:
            raise _unsure(lost) from lost
        return found == "committed"

    def _ask(self, number: int | None) -> str | None:
        with self._writer.begin() as connection:
            found: str | None = connection.execute(_BECAME, {"number": number}).scalar()
            return found

    def vacuum_step(self, conn: Connection) -> bool:
        """Nothing: PostgreSQL uses again what autovacuum finds free."""
        del conn
        return False

    def free(self) -> None:
        """None: where the server keeps its files is not to be seen from here."""


_NUMBER = select(func.txid_current_if_assigned())
_BECAME = select(func.txid_status(bindparam("number", type_=BigInteger)))
"""https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT"""


def _lost(transaction: Transaction) -> DBAPIError | None:
    """What kept the answer to its commit away; None: it is committed."""
    try:
        transaction.commit()
    except DBAPIError as error:
        return error
    return None


def _unsure(error: DBAPIError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the store was lost while it stored this: {cause(error)}; whether it is stored is not"
        " known, and the same request with the same Idempotency-Key is stored once"
    )


_TRIES = 4
_SOON = 2.0
"""Seconds in which a connection that was lost is found to be so; then another try is worth it."""
_CROSSED = (errors.DeadlockDetected, errors.SerializationFailure)


def _trying() -> Retrying:
    return Retrying(
        retry=retry_if_exception(_worth_another),
        stop=stop_after_attempt(_TRIES) | stop_after_delay(_SOON),
        reraise=True,
    )


def _worth_another(error: BaseException) -> bool:
    """Nothing was stored, and there is no reason that it should fail again."""
    if not isinstance(error, DBAPIError):
        return False
    return isinstance(error.orig, _CROSSED) or error.connection_invalidated


def _not_yet(call: RetryCallState) -> None:
    problem = call.outcome and call.outcome.exception()
    _log.warning(
        "store not there yet", reason=str(problem), seconds=round(call.seconds_since_start or 0.0)
    )


def _engine(server: Server, *, pool_size: int, reads_only: bool = False) -> Engine:
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: server.connect(reads_only=reads_only),
        hide_parameters=True,  # an error that is logged must not hold a ticket
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
    )


def once(server: Server, work: Callable[[Connection], object]) -> None:
    """Run `work` in one transaction that may take its time. Raises `StoreUnavailable`."""
    engine = create_engine(
        "postgresql+psycopg://", creator=server.connect_at_leisure, poolclass=NullPool
    )
    try:
        with engine.begin() as connection:
            work(connection)
    except DBAPIError as error:
        raise unavailable(error) from error
    finally:
        engine.dispose()


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where the database is, and how to get in: connections that give up in seconds."""

    url: str
    """as `postgresql://user@host/db?...`, without a password"""
    password: Callable[[], str | None] = lambda: None
    """asked for every connection, so that a new password needs no restart"""
    silence: float = SILENCE
    """seconds without a byte from it after which a statement is given up"""

    @property
    def conninfo(self) -> str:
        """The URL with what it leaves open."""
        return make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(self.url)})

    def connect(self, *, reads_only: bool = False) -> PatientConnection:
        """A connection for transactions. Raises `psycopg.Error`."""
        connection = PatientConnection.connect(self.conninfo, autocommit=True, **self._secret())
        with _closed_on_error(connection):
            connection.patience = self.silence
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
