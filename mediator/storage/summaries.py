"""Statements behind the console's summaries: each reads a few rows, however many there are."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, func, literal, select, type_coerce

from mediator.model.deliveries import ENDED, Delivery, State
from mediator.storage.columns import microseconds
from mediator.storage.rows import DELIVERY, to_delivery
from mediator.storage.states import PENDING, RUNNING, in_state
from mediator.storage.tables import deliveries

_c = deliveries.c
_ENDED = sorted(ENDED)


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
        .where(in_state(*_ENDED), _c.ended >= since, _c.ended < until)
        .subquery()
    )
    query = select(found.c.step, found.c.state, func.count()).group_by(found.c.step, found.c.state)
    return {(int(step), state): count for step, state, count in conn.execute(query)}


def recent(conn: Connection, scripts: Collection[str], *, most: int) -> dict[str, list[Delivery]]:
    """Script → its latest deliveries, newest first, without their attempts."""
    latest = select(*DELIVERY).order_by(_c.seq.desc()).limit(most)
    return {
        script: [
            to_delivery(row) for row in conn.execute(latest.where(_c.script == script)).mappings()
        ]
        for script in scripts
    }


def pulse(conn: Connection) -> Hashable:
    """Something that is another one when deliveries have come, begun to run, or ended."""
    newest = select(_c.seq).order_by(_c.seq.desc()).limit(1)
    oldest = select(_c.seq).where(PENDING).order_by(_c.seq).limit(1)
    running = select(_c.seq, _c.attempts_made, _c.stop_asked).where(RUNNING).order_by(_c.seq)
    last = [
        select(_c.ended).where(in_state(state), _c.ended.is_not(None)).order_by(_c.ended.desc())
        for state in _ENDED
    ]
    return (
        conn.execute(newest).scalar(),
        conn.execute(oldest).scalar(),
        *(conn.execute(query.limit(1)).scalar() for query in last),
        *(tuple(row) for row in conn.execute(running.limit(100))),
    )


def place(conn: Connection, at: datetime) -> int:
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
