"""Locks between mediators that share a PostgreSQL database; they end with the transaction.

SQLite needs none: it has one mediator, which writes one transaction at a time. PostgreSQL's locks
here are advisory (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS):
numbers that all mediators derive alike. Two things that happen to have one number only wait for
each other.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ARRAY, BigInteger, Connection, bindparam, func, select

from mediator.model.delivery import content_digest

_NUMBERS = func.unnest(bindparam("numbers", type_=ARRAY(BigInteger))).column_valued("number")
_WAIT = select(func.pg_advisory_xact_lock(_NUMBERS))
_TRY = select(_NUMBERS).where(func.pg_try_advisory_xact_lock(_NUMBERS))


def shared(conn: Connection) -> bool:
    """Whether other mediators may write at the same time."""
    return conn.dialect.name == "postgresql"


def number(*parts: str | bytes) -> int:
    """The lock of something that these parts name."""
    encoded = (p if isinstance(p, bytes) else p.encode("utf-8", "surrogatepass") for p in parts)
    return int.from_bytes(content_digest(*encoded)[:8], "big", signed=True)


def wait_for(conn: Connection, numbers: Collection[int]) -> None:
    """Hold all of these; in one order, so that two who want the same wait for each other once."""
    if numbers and shared(conn):
        conn.execute(_WAIT, {"numbers": sorted(set(numbers))})


def try_for(conn: Connection, numbers: Collection[int]) -> frozenset[int]:
    """Hold those that nobody else holds now, and say which."""
    wanted = sorted(set(numbers))
    if not wanted or not shared(conn):
        return frozenset(wanted)
    return frozenset(conn.execute(_TRY, {"numbers": wanted}).scalars())
