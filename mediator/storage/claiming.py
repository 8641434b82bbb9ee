"""Statements by which a dispatcher takes deliveries, and learns when to look again."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    TableValuedAlias,
    Text,
    bindparam,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from mediator.model.deliveries import Claim, State
from mediator.storage.columns import Instant
from mediator.storage.port import Appetite
from mediator.storage.rows import DELIVERY, to_delivery
from mediator.storage.states import in_state
from mediator.storage.tables import attempts, deliveries, tickets

_c = deliveries.c


def claim(conn: Connection, appetite: Appetite, *, now: datetime, lease: datetime) -> list[Claim]:
    """Take due deliveries, oldest first, within the room that each script has."""
    rows = _choose(conn, appetite, now)
    if not rows:
        return []
    seqs = [row["seq"] for row in rows]
    conn.execute(_TAKE, {"seqs": seqs, "by": appetite.owner, "until": lease})
    conn.execute(_OPEN, [_opened(row, now) for row in rows])
    by_seq = {row["seq"]: row for row in conn.execute(_TAKEN, {"seqs": seqs}).mappings()}
    return [
        Claim(delivery=to_delivery(by_seq[seq]), body=by_seq[seq]["body"], owner=appetite.owner)
        for seq in seqs
    ]


def _choose(conn: Connection, appetite: Appetite, now: datetime) -> list[RowMapping]:
    """Interactive ones first: a person waits for them."""
    room = dict(appetite.room)
    chosen: list[RowMapping] = []
    for interactive, slots in ((True, appetite.interactive_slots), (False, appetite.slots)):
        scripts = {name: name in appetite.ordered for name, n in room.items() if n > 0}
        if not scripts or slots < 1:
            continue
        values = {"interactive": interactive, "now": now, "slots": slots}
        found = conn.execute(_HEADS, {**values, "scripts": json.dumps(scripts)}).mappings()
        chosen += _within(sorted(found, key=lambda row: (row["due"], row["seq"])), slots, room)
    return chosen


def _within(rows: Sequence[RowMapping], slots: int, room: dict[str, int]) -> list[RowMapping]:
    """The first rows for which there are slots and room; the room they take is subtracted."""
    chosen: list[RowMapping] = []
    for row in rows:
        if len(chosen) < slots and room[row["script"]] > 0:
            room[row["script"]] -= 1
            chosen.append(row)
    return chosen


def _scripts() -> TableValuedAlias:
    """The parameter `scripts`, a JSON object: script → whether it is ordered."""
    return func.json_each(bindparam("scripts", type_=Text)).table_valued("key", "value")


def _heads() -> Select[Any]:
    """The first due deliveries of every script.

    Script by script, so that the backlog of one is never walked through to find the others.
    """
    script = _scripts()
    head = deliveries.alias("head")
    first = (
        select(head.c.seq)
        .where(
            in_state(State.PENDING, of=head),
            head.c.interactive == bindparam("interactive"),
            head.c.script == script.c.key,
            head.c.due <= bindparam("now", type_=Instant),
            or_(head.c.expires.is_(None), head.c.expires > bindparam("now", type_=Instant)),
            or_(script.c.value == 0, ~_one_before(head)),
        )
        .order_by(head.c.due, head.c.seq)
        .limit(bindparam("slots"))
        .correlate(script)
        .scalar_subquery()
    )
    return select(_c.seq, _c.script, _c.due, _c.attempts_made).select_from(
        script.join(deliveries, _c.seq.in_(first))
    )


def _one_before(head: FromClause) -> ColumnElement[bool]:
    """Another delivery of the same script and ticket arrived earlier and is unfinished, or runs.

    One that arrived later can run: when an operator has an ended delivery made again.
    """
    other = deliveries.alias("other")
    return exists().where(
        other.c.ticket_id == head.c.ticket_id,
        other.c.script == head.c.script,
        in_state(State.PENDING, State.RUNNING, of=other),
        or_(other.c.seq < head.c.seq, in_state(State.RUNNING, of=other)),
        other.c.interactive == head.c.interactive,
    )


_HEADS = _heads()
_TAKE = (
    update(deliveries)
    .where(_c.seq.in_(bindparam("seqs", expanding=True)))
    .values(
        state=State.RUNNING,
        attempts_made=_c.attempts_made + 1,
        owner=bindparam("by"),
        lease=bindparam("until"),
        due=None,
        stop_asked=False,
    )
)
_OPEN = insert(attempts)
_TAKEN = (
    select(*DELIVERY, tickets.c.body)
    .join(tickets, tickets.c.delivery == _c.seq)
    .where(_c.seq.in_(bindparam("seqs", expanding=True)))
)
_NOTHING = {"head": b"", "tail": b"", "omitted": 0}
_NO_OUTPUT = {f"{s}_{part}": v for s in ("stdout", "stderr") for part, v in _NOTHING.items()}


def _opened(row: RowMapping, now: datetime) -> dict[str, Any]:
    number = row["attempts_made"] + 1
    return {"delivery": row["seq"], "number": number, "started": now, "reason": "", **_NO_OUTPUT}


def next_due(conn: Connection, scripts: Collection[str], *, after: datetime) -> datetime | None:
    """When the next delivery of these scripts becomes due; interactive ones always are."""
    values = {"scripts": json.dumps(dict.fromkeys(scripts, 0)), "after": after}
    return conn.execute(_NEXT_DUE, values).scalar()


def _next_due() -> Select[Any]:
    script = _scripts()
    of_script = (
        select(func.min(_c.due))
        .where(
            in_state(State.PENDING),
            _c.interactive == false(),
            _c.script == script.c.key,
            _c.due > bindparam("after", type_=Instant),
        )
        .correlate(script)
        .scalar_subquery()
    )
    return select(func.min(of_script, type_=Instant)).select_from(script)


_NEXT_DUE = _next_due()
