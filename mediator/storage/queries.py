"""Statements that only read: what operators look for, and summaries for metrics and the console.

A summary reads a few rows, or an index, however many deliveries there are; `census` says otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    false,
    func,
    literal,
    select,
    text,
    type_coerce,
)

from mediator.model.delivery import ENDED, Attempt, Calls, Census, Delivery, State, Waiting
from mediator.storage.interface import Backlog, Search
from mediator.storage.tables import (
    DEAD,
    DELIVERY,
    PENDING,
    RUNNING,
    SUMMARY,
    Instant,
    attempts,
    deliveries,
    in_state,
    microseconds,
    row_of,
    tickets,
    to_attempt,
    to_delivery,
)

_c = deliveries.c


def find(conn: Connection, delivery_id: str) -> Delivery:
    """One delivery with its attempts and their outputs. Raises `NotFound`."""
    row = row_of(conn, delivery_id)
    query = select(attempts).where(attempts.c.delivery == row["seq"]).order_by(attempts.c.number)
    return to_delivery(row, map(to_attempt, conn.execute(query).mappings()))


def body(conn: Connection, delivery_id: str) -> bytes:
    """The ticket as it was handed over. Raises `NotFound`."""
    query = select(tickets.c.body).where(tickets.c.delivery == row_of(conn, delivery_id)["seq"])
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


def seq_at(conn: Connection, at: datetime) -> int:
    """The `seq` of the first delivery received at `at` or later, else one past the last.

    Found by halving, because arrival order is the order of `received` as long as no clock is set
    back; where one was, it is a place nearby.
    """
    low, high = 1, (conn.execute(select(func.max(_c.seq))).scalar() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = conn.execute(
            select(_c.seq, _c.received).where(_c.seq >= middle).order_by(_c.seq).limit(1)
        ).first()
        if found is None or found.received >= at:
            high = middle
        else:
            low = found.seq + 1
    return low


def backlog(conn: Connection) -> Backlog:
    """How many wait, run and are dead. Ended ones are not counted: that would read them all."""
    return Backlog(
        pending=_count(conn, PENDING),
        oldest_pending=conn.execute(_OLDEST).scalar(),
        running=_count(conn, RUNNING),
        dead=_count(conn, DEAD),
    )


def _count(conn: Connection, condition: ColumnElement[bool]) -> int:
    return conn.execute(select(func.count()).select_from(deliveries).where(condition)).scalar_one()


_OLDEST = select(_c.received).where(PENDING).order_by(_c.seq).limit(1)


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
        ended={state: count for state, count in conn.execute(_COUNT_ENDED)},  # noqa: C416 - rows
    )


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
_COUNT_ENDED = select(_c.state, func.count()).where(_c.ended.is_not(None)).group_by(_c.state)


def _by_calls(conn: Connection, condition: ColumnElement[bool]) -> Mapping[Calls, int]:
    # By seq first, in the index of the state: an index on scripts would lead past all that ended.
    found: Select[tuple[str, bool]] = select(_c.script, _c.interactive).where(condition)
    rows = found.order_by(_c.seq).subquery()
    query = select(rows.c.script, rows.c.interactive, func.count())
    grouped = query.group_by(rows.c.script, rows.c.interactive)
    return {(script, interactive): count for script, interactive, count in conn.execute(grouped)}


def waiting(conn: Connection) -> dict[str, int]:
    """Script → its pending deliveries, without interactive ones."""
    return {script: count for script, count in conn.execute(_WAITING)}  # noqa: C416 - rows


_WAITING = (
    select(_c.script, func.count()).where(PENDING, _c.interactive == false()).group_by(_c.script)
)


def ends(
    conn: Connection, *, since: datetime, until: datetime, step: timedelta
) -> dict[tuple[int, State], int]:
    """How many deliveries ended, by step (0, 1, ... from `since`) and state. Only an index is read.

    A delivery that was made due again since then is not counted: it has not ended.
    """
    begin = literal(microseconds(since), BigInteger)
    width = literal(step // timedelta(microseconds=1), BigInteger)
    number = (type_coerce(_c.ended, BigInteger) - begin) // width
    # Within, so that the grouping does not repeat parameters, which PostgreSQL takes for others.
    found = (
        select(number.label("step"), _c.state)
        .where(in_state(*_ENDS), _c.ended >= since, _c.ended < until)
        .subquery()
    )
    query = select(found.c.step, found.c.state, func.count()).group_by(found.c.step, found.c.state)
    return {(int(step), state): count for step, state, count in conn.execute(query)}


_ENDS = sorted(ENDED)


def recent(conn: Connection, scripts: Collection[str], *, most: int) -> dict[str, list[Delivery]]:
    """Script → its latest deliveries, newest first, without their attempts."""
    latest = select(*DELIVERY).order_by(_c.seq.desc()).limit(most)
    return {
        script: [
            to_delivery(row) for row in conn.execute(latest.where(_c.script == script)).mappings()
        ]
        for script in scripts
    }


def change_token(conn: Connection) -> Hashable:
    """Something that is another one when deliveries have come, begun to run, or ended."""
    newest = select(_c.seq).order_by(_c.seq.desc()).limit(1)
    oldest = select(_c.seq).where(PENDING).order_by(_c.seq).limit(1)
    running = select(_c.seq, _c.attempts_made, _c.stop_asked).where(RUNNING).order_by(_c.seq)
    last = [
        select(_c.ended).where(in_state(state), _c.ended.is_not(None)).order_by(_c.ended.desc())
        for state in _ENDS
    ]
    return (
        conn.execute(newest).scalar(),
        conn.execute(oldest).scalar(),
        *(conn.execute(query.limit(1)).scalar() for query in last),
        *(tuple(row) for row in conn.execute(running.limit(100))),
    )


def size(conn: Connection) -> int:
    """Bytes of the database, with what is unused in it; a log that is not in it yet aside."""
    found: int = conn.execute(text(_SIZES[conn.dialect.name])).scalar_one()
    return found


_SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgresql": "SELECT pg_database_size(current_database())",
}
