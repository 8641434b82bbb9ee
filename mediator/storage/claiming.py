"""Statements by which dispatchers take deliveries, keep them, and take over lost ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    Text,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from mediator.model.attempts import Outcome
from mediator.model.deliveries import Claim, State
from mediator.storage.columns import Instant
from mediator.storage.port import Appetite
from mediator.storage.rows import DELIVERY, to_delivery
from mediator.storage.states import PENDING, RUNNING
from mediator.storage.tables import attempts, deliveries, tickets

MOST_LOSSES = 10
"""How often the mediator may die while running a delivery before the delivery is given up."""

_c = deliveries.c


def claim(conn: Connection, appetite: Appetite, *, now: datetime, lease: datetime) -> list[Claim]:
    """Take due deliveries, oldest first, within the room that each script has."""
    rows = _choose(_due(conn, appetite, now), appetite)
    if not rows:
        return []
    seqs = [row["seq"] for row in rows]
    conn.execute(
        update(deliveries)
        .where(_c.seq.in_(seqs))
        .values(
            state=State.RUNNING,
            attempts_made=_c.attempts_made + 1,
            owner=appetite.owner,
            lease=lease,
            due=None,
            stop_asked=False,
        )
    )
    conn.execute(insert(attempts), [_opened(row, now) for row in rows])
    return _claimed(conn, seqs, appetite.owner)


def _due(conn: Connection, appetite: Appetite, now: datetime) -> Sequence[RowMapping]:
    """The first due deliveries of each script that has room, oldest first over all."""
    room = {script: n for script, n in appetite.room.items() if n > 0}
    if not room or appetite.slots < 1:
        return []
    plain = [script for script in room if script not in appetite.ordered]
    ordered = [script for script in room if script in appetite.ordered]
    values = {"interactive": appetite.interactive, "now": now, "slots": appetite.slots}
    found: list[RowMapping] = []
    for scripts, statement in ((plain, _PLAIN), (ordered, _ORDERED)):
        if scripts:
            parameters = {**values, "scripts": json.dumps(scripts)}
            found.extend(conn.execute(statement, parameters).mappings())
    return sorted(found, key=lambda row: (row["due"], row["seq"]))


def _choose(rows: Sequence[RowMapping], appetite: Appetite) -> list[RowMapping]:
    room = dict(appetite.room)
    chosen: list[RowMapping] = []
    for row in rows:
        if len(chosen) < appetite.slots and room[row["script"]] > 0:
            room[row["script"]] -= 1
            chosen.append(row)
    return chosen


def _heads(*, ordered: bool) -> Select[Any]:
    """The first due deliveries of every script named in the parameter `scripts` (a JSON list).

    Script by script, so that the backlog of one is never walked through to find the others.
    """
    script = func.json_each(bindparam("scripts", type_=Text)).table_valued("value", name="script")
    head = deliveries.alias("head")
    first = (
        select(head.c.seq)
        .where(
            head.c.state == literal_column("'pending'"),
            head.c.interactive == bindparam("interactive"),
            head.c.script == script.c.value,
            head.c.due <= bindparam("now", type_=Instant),
            *([_nothing_before(head)] if ordered else []),
        )
        .order_by(head.c.due, head.c.seq)
        .limit(bindparam("slots"))
        .correlate(script)
        .scalar_subquery()
    )
    return select(_c.seq, _c.script, _c.due, _c.attempts_made).select_from(
        script.join(deliveries, _c.seq.in_(first))
    )


def _nothing_before(head: FromClause) -> ColumnElement[bool]:
    """No earlier delivery of the same script and ticket is unfinished."""
    earlier = deliveries.alias("earlier")
    return ~exists().where(
        earlier.c.ticket_id == head.c.ticket_id,
        earlier.c.seq < head.c.seq,
        earlier.c.script == head.c.script,
        earlier.c.state.in_([State.PENDING, State.RUNNING]),
    )


_PLAIN = _heads(ordered=False)
_ORDERED = _heads(ordered=True)


def _opened(row: RowMapping, now: datetime) -> dict[str, Any]:
    streams = {f"{s}_{p}": v for s in ("stdout", "stderr") for p, v in _NOTHING.items()}
    number = row["attempts_made"] + 1
    return {"delivery": row["seq"], "number": number, "started": now, "reason": "", **streams}


_NOTHING = {"head": b"", "tail": b"", "omitted": 0}


def _claimed(conn: Connection, seqs: Sequence[int], owner: str) -> list[Claim]:
    query = (
        select(*DELIVERY, tickets.c.body)
        .join(tickets, tickets.c.delivery == _c.seq)
        .where(_c.seq.in_(seqs))
    )
    by_seq = {row["seq"]: row for row in conn.execute(query).mappings()}
    return [
        Claim(delivery=to_delivery(by_seq[seq]), body=by_seq[seq]["body"], owner=owner)
        for seq in seqs
    ]


def renew(conn: Connection, owner: str, *, lease: datetime) -> list[str]:
    """Extend the leases of `owner`; the ids among them that an operator wants stopped."""
    conn.execute(update(deliveries).where(RUNNING, _c.owner == owner).values(lease=lease))
    asked = select(_c.id).where(RUNNING, _c.owner == owner, _c.stop_asked.is_(True))
    return list(conn.execute(asked).scalars())


def recover(conn: Connection, owner: str, *, now: datetime, alone: bool) -> int:
    """Put back what other dispatchers held and lost.

    `alone`: nobody else can be alive (the store is locked for one mediator), so that every
    delivery held by another owner is lost; otherwise only those whose lease has run out.
    """
    held = and_(RUNNING, _c.owner != owner)
    if not alone:
        held = and_(held, or_(_c.lease.is_(None), _c.lease < now))
    query = select(_c.seq, _c.attempts_made, _c.losses, _c.stop_asked).where(held)
    rows = list(conn.execute(query).mappings())
    for row in rows:
        _put_back(conn, row, now)
    return len(rows)


_LOST = "the mediator stopped while this attempt ran; how it ended is unknown"


def _put_back(conn: Connection, row: RowMapping, now: datetime) -> None:
    losses = row["losses"] + 1
    state, error = State.PENDING, _LOST
    if row["stop_asked"]:
        state = State.CANCELLED
    elif losses >= MOST_LOSSES:
        state, error = State.DEAD, f"the mediator stopped {losses} times while running this"
    pending = state is State.PENDING
    conn.execute(
        update(attempts)
        .where(attempts.c.delivery == row["seq"], attempts.c.number == row["attempts_made"])
        .values(ended=now, outcome=Outcome.LOST, reason=_LOST)
    )
    conn.execute(
        update(deliveries)
        .where(_c.seq == row["seq"])
        .values(
            state=state,
            losses=losses,
            due=now if pending else None,
            ended=None if pending else now,
            owner=None,
            lease=None,
            last_error=error,
        )
    )


def expire(conn: Connection, *, now: datetime) -> list[str]:
    """Cancel interactive deliveries that have not started while their caller waited."""
    late = list(
        conn.execute(
            select(_c.id).where(PENDING, _c.interactive.is_(True), _c.expires <= now)
        ).scalars()
    )
    if late:
        conn.execute(
            update(deliveries)
            .where(_c.id.in_(late))
            .values(
                state=State.CANCELLED,
                due=None,
                ended=now,
                last_error="no slot was free before the caller's deadline",
            )
        )
    return late


def next_due(conn: Connection) -> datetime | None:
    """When the next pending delivery is due."""
    return conn.execute(select(func.min(_c.due)).where(PENDING)).scalar()
