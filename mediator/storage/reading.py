"""Statements that only read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, bindparam, false, func, select, text

from mediator.model.attempts import Attempt
from mediator.model.census import Calls, Census, Waiting
from mediator.model.deliveries import Delivery
from mediator.storage.columns import Instant
from mediator.storage.port import Backlog, Search
from mediator.storage.rows import DELIVERY, SUMMARY, one, to_attempt, to_delivery
from mediator.storage.states import DEAD, PENDING, RUNNING, in_state
from mediator.storage.tables import attempts, deliveries, tickets

_c = deliveries.c


def find(conn: Connection, delivery_id: str) -> Delivery:
    """One delivery with its attempts and their outputs. Raises `NotFound`."""
    row = one(conn, delivery_id)
    query = select(attempts).where(attempts.c.delivery == row["seq"]).order_by(attempts.c.number)
    return to_delivery(row, map(to_attempt, conn.execute(query).mappings()))


def body(conn: Connection, delivery_id: str) -> bytes:
    """The ticket as it was handed over. Raises `NotFound`."""
    query = select(tickets.c.body).where(tickets.c.delivery == one(conn, delivery_id)["seq"])
    found: bytes = conn.execute(query).scalar_one()
    return found


def search(conn: Connection, wanted: Search) -> list[Delivery]:
    """Deliveries, newest first, with their attempts but without outputs."""
    query = (
        select(*DELIVERY).where(*_conditions(wanted)).order_by(_c.seq.desc()).limit(wanted.limit)
    )
    rows = list(conn.execute(query).mappings())
    runs = _attempts_of(conn, [row["seq"] for row in rows])
    return [to_delivery(row, runs[row["seq"]]) for row in rows]


def _conditions(wanted: Search) -> list[ColumnElement[bool]]:
    pairs = {
        _c.script: wanted.script,
        _c.event: wanted.event,
        _c.ticket_id: wanted.ticket,
    }
    conditions = [column == value for column, value in pairs.items() if value is not None]
    if wanted.state is not None:
        conditions.append(in_state(wanted.state))
    if wanted.since is not None:
        conditions.append(_c.received >= wanted.since)
    if wanted.until is not None:
        conditions.append(_c.received < wanted.until)
    if wanted.after is not None:
        conditions.append(_c.seq < wanted.after)
    if wanted.floor is not None:
        conditions.append(_c.seq >= wanted.floor)
    return conditions


def _attempts_of(conn: Connection, seqs: Sequence[int]) -> defaultdict[int, list[Attempt]]:
    runs: defaultdict[int, list[Attempt]] = defaultdict(list)
    query = (
        select(*SUMMARY)
        .where(attempts.c.delivery.in_(seqs))
        .order_by(attempts.c.delivery, attempts.c.number)
    )
    for row in conn.execute(query).mappings():
        runs[row["delivery"]].append(to_attempt(row))
    return runs


def backlog(conn: Connection) -> Backlog:
    """How many wait, run and are dead. Ended ones are not counted: that would read them all."""
    oldest = select(_c.received).where(PENDING).order_by(_c.seq).limit(1)
    return Backlog(
        pending=_count(conn, PENDING),
        oldest_pending=conn.execute(oldest).scalar(),
        running=_count(conn, RUNNING),
        dead=_count(conn, DEAD),
    )


_WAITING = (
    select(_c.script, func.count()).where(PENDING, _c.interactive == false()).group_by(_c.script)
)


def waiting(conn: Connection) -> dict[str, int]:
    """Script → its pending deliveries, without interactive ones."""
    return {script: count for script, count in conn.execute(_WAITING)}  # noqa: C416 - rows


_OLDEST = select(_c.received).where(PENDING).order_by(_c.seq).limit(1)
_WAITING_GROUPS = (
    select(
        _c.script,
        _c.interactive,
        func.count().label("pending"),
        func.count().filter(_c.due > bindparam("now", type_=Instant)).label("retrying"),
        func.min(_c.due, type_=Instant).label("first_due"),
    )
    .where(PENDING)
    .group_by(_c.interactive, _c.script)
)
_ENDED = select(_c.state, func.count()).where(_c.ended.is_not(None)).group_by(_c.state)


def census(conn: Connection, *, now: datetime) -> Census:
    """How many deliveries there are, by script and state.

    It walks through the index of each state, which takes some 0.4 s for a million deliveries of
    which a quarter is dead: of those it reads the rows.
    """
    return Census(
        waiting=[
            Waiting(
                calls=(row.script, row.interactive),
                pending=row.pending,
                retrying=row.retrying,
                first_due=row.first_due,
            )
            for row in conn.execute(_WAITING_GROUPS, {"now": now})
        ],
        oldest_pending=conn.execute(_OLDEST).scalar(),
        running=_by_calls(conn, RUNNING),
        dead=_by_calls(conn, DEAD),
        ended={state: count for state, count in conn.execute(_ENDED)},  # noqa: C416 - rows
    )


def _by_calls(conn: Connection, condition: ColumnElement[bool]) -> Mapping[Calls, int]:
    # By seq first, in the index of the state: an index on scripts would lead past all that ended.
    found: Select[tuple[str, bool]] = select(_c.script, _c.interactive).where(condition)
    rows = found.order_by(_c.seq).subquery()
    query = select(rows.c.script, rows.c.interactive, func.count())
    grouped = query.group_by(rows.c.script, rows.c.interactive)
    return {(script, interactive): count for script, interactive, count in conn.execute(grouped)}


_SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def size(conn: Connection) -> int:
    """Bytes of the database, with what is unused in it; a log that is not in it yet aside."""
    found: int = conn.execute(text(_SIZES[conn.dialect.name])).scalar_one()
    return found


def _count(conn: Connection, condition: ColumnElement[bool]) -> int:
    return conn.execute(select(func.count()).select_from(deliveries).where(condition)).scalar_one()
