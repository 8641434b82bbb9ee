"""A backlog of any size, written by the database itself in seconds.

The rows are copies of one delivery that the store kept, each with an identity, a content, a ticket
and a due time of its own, in random order where real ones are random: the indexes grow as they
would.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from mediator.settings.store_url import is_sqlite, sqlite_path
from mediator.storage.tables import deliveries

_STEP = 100_000
_TICKETS = 100_000
_OWN = {
    "ticket_id": f"CAST(n % {_TICKETS} AS TEXT)",
    "due": "due - 60000000 + n",
}
_SQLITE = {
    "id": "printf('%036d', n)",
    "idempotency_key": "lower(hex(randomblob(16)))",
    "content": "randomblob(32)",
}
_POSTGRESQL = {
    "id": "lpad(CAST(n AS TEXT), 36, '0')",
    "idempotency_key": "md5(CAST(n AS TEXT))",
    "content": "sha256(CAST(CAST(n AS TEXT) AS BYTEA))",
}
Execute = Callable[[str], Any]


def fill(url: str, count: int) -> None:
    """Add `count` copies of the first delivery, due before it; then look at the tables once.

    That look is what autovacuum does by itself within a minute.
    """
    own = _OWN | (_SQLITE if is_sqlite(url) else _POSTGRESQL)
    with _connected(url) as execute:
        for start in range(0, count, _STEP):
            _copy(execute, own, start + 1, min(start + _STEP, count))
        execute("ANALYZE" if is_sqlite(url) else "VACUUM (ANALYZE)")


def _copy(execute: Execute, own: dict[str, str], first: int, last: int) -> None:
    names = [name for name in deliveries.c.keys() if name != "seq"]  # noqa: SIM118 - as above
    values = ", ".join(own.get(name, name) for name in names)
    execute(
        f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL"  # noqa: S608 - its own names
        f" SELECT n + 1 FROM numbers WHERE n < {last})"
        f" INSERT INTO deliveries ({', '.join(names)}) SELECT {values} FROM deliveries, numbers"
        " WHERE seq = (SELECT min(seq) FROM deliveries)"
    )
    execute(
        "INSERT INTO tickets (delivery, body) SELECT seq, (SELECT body FROM tickets WHERE delivery"
        " = (SELECT min(seq) FROM deliveries)) FROM deliveries WHERE seq >"
        " (SELECT max(delivery) FROM tickets)"
    )


@contextmanager
def _connected(url: str) -> Iterator[Execute]:
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as connection:
            for pragma in ("synchronous=OFF", "cache_size=-400000"):
                connection.execute(f"PRAGMA {pragma}")
            yield connection.execute
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        with psycopg.connect(url, autocommit=True) as server:
            yield lambda statement: server.execute(statement.encode())
