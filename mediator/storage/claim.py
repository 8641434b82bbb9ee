"""Statements by which a dispatcher takes deliveries, and learns when to look again."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    Select,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from mediator.model.delivery import Claim, State
from mediator.storage import locks
from mediator.storage.interface import Capacity
from mediator.storage.tables import (
    DELIVERY,
    PENDING,
    RUNNING,
    Instant,
    attempts,
    blocked_by_earlier,
    deliveries,
    in_state,
    tickets,
    to_delivery,
)

_c = deliveries.c


def claim(conn: Connection, capacity: Capacity, *, now: datetime, lease: datetime) -> list[Claim]:
    """Take due deliveries, oldest first, within the room that each script has."""
    rows = _choose(conn, capacity, now)
    if not rows:
        return []
    seqs = [row["seq"] for row in rows]
    conn.execute(_CLAIM, {"seqs": seqs, "by": capacity.owner, "until": lease})
    conn.execute(_OPEN, [_opened(row, now) for row in rows])
    return claims_of(conn, seqs, capacity.owner)


_CLAIM = (
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
_NOTHING = {"head": b"", "tail": b"", "omitted": 0}
_NO_OUTPUT = {f"{s}_{part}": v for s in ("stdout", "stderr") for part, v in _NOTHING.items()}


def _opened(row: RowMapping, now: datetime) -> dict[str, Any]:
    number = row["attempts_made"] + 1
    return {"delivery": row["seq"], "number": number, "started": now, "reason": "", **_NO_OUTPUT}


def claims_of(conn: Connection, seqs: Sequence[int], owner: str) -> list[Claim]:
    """What `owner` needs to run these, in their order."""
    rows = {row["seq"]: row for row in conn.execute(_CLAIMED, {"seqs": seqs}).mappings()}
    return [
        Claim(delivery=to_delivery(rows[seq]), body=rows[seq]["body"], owner=owner) for seq in seqs
    ]


_CLAIMED = (
    select(*DELIVERY, tickets.c.body)
    .join(tickets, tickets.c.delivery == _c.seq)
    .where(_c.seq.in_(bindparam("seqs", expanding=True)))
)


def _choose(conn: Connection, capacity: Capacity, now: datetime) -> list[RowMapping]:
    """Interactive ones first: a person waits for them."""
    room = dict(capacity.room)
    if locks.shared(conn):
        room = _room_left(conn, room, capacity.limits)
    chosen: list[RowMapping] = []
    for interactive, slots in ((True, capacity.interactive_slots), (False, capacity.slots)):
        kind = {"interactive": interactive, "now": now, "latest": _ANY if interactive else now}
        chosen += _choose_kind(conn, capacity, room, kind, slots)
    return chosen


_ANY = datetime.max.replace(tzinfo=UTC)
"""An interactive delivery is always due: no clock that was ahead when it came holds it up."""


def _room_left(
    conn: Connection, room: Mapping[str, int], limits: Mapping[str, int]
) -> dict[str, int]:
    """The room that is left when what runs elsewhere is counted.

    A script with a limit is claimed by one mediator at a time: two that counted at once would both
    find room.
    """
    numbers = {name: locks.number("limit", name) for name in room if name in limits}
    if not numbers:
        return dict(room)
    ours = locks.try_for(conn, numbers.values())
    running: dict[str, int] = {script: count for script, count in conn.execute(_BY_SCRIPT)}  # noqa: C416 - rows
    left = {
        name: min(room[name], limits[name] - running.get(name, 0)) if lock in ours else 0
        for name, lock in numbers.items()
    }
    return {**room, **left}


_BY_SCRIPT = select(_c.script, func.count()).where(RUNNING).group_by(_c.script)


def _choose_kind(
    conn: Connection, capacity: Capacity, room: dict[str, int], kind: dict[str, Any], slots: int
) -> list[RowMapping]:
    """As many as there are slots for; the room they take is subtracted.

    What another mediator takes at this moment is left to it, and the next ones are looked at.
    """
    taken: list[RowMapping] = []
    passed: set[int] = set()
    while len(taken) < slots:
        scripts = {name: name in capacity.ordered for name, n in room.items() if n > 0}
        if not scripts:
            break
        found = _due(conn, scripts, {**kind, "slots": slots + len(passed)})
        found = [row for row in found if row["seq"] not in passed]
        wanted = _within(found, slots - len(taken), dict(room))
        ours = _take(conn, wanted, beside=taken, ordered=scripts, latest=kind["latest"])
        taken += _within(ours, slots - len(taken), room)
        passed |= {row["seq"] for row in wanted}
        if len(ours) == len(wanted):
            break
    return taken


def _within(rows: Sequence[RowMapping], slots: int, room: dict[str, int]) -> list[RowMapping]:
    """The first rows for which there are slots and room; the room they take is subtracted."""
    chosen: list[RowMapping] = []
    for row in rows:
        if len(chosen) < slots and room[row["script"]] > 0:
            room[row["script"]] -= 1
            chosen.append(row)
    return chosen


def _due(conn: Connection, scripts: dict[str, bool], values: dict[str, Any]) -> list[RowMapping]:
    """The first due deliveries of these scripts (script → whether it is ordered), oldest first."""
    heads = _HEADS_SHARED if locks.shared(conn) else _HEADS
    found = conn.execute(heads, {**values, "scripts": json.dumps(scripts)}).mappings()
    return sorted(found, key=lambda row: (row["due"], row["seq"]))


_COLUMNS = (_c.seq, _c.script, _c.due, _c.attempts_made, _c.ticket_id, _c.interactive)
"""What a claim needs to know of a delivery before it takes it."""
_SCRIPTS = bindparam("scripts", type_=Text)
"""A JSON object: script → whether it is ordered."""
_SCRIPT = func.json_each(_SCRIPTS).table_valued("key", "value")
_SCRIPT_SHARED = func.json_each_text(cast(_SCRIPTS, JSON)).table_valued("key", "value")
"""The same for PostgreSQL."""


def _first_due(script: TableValuedAlias, unordered: ColumnElement[bool]) -> Select[Any]:
    """The first due deliveries of one script.

    Script by script, so that the backlog of one is never walked through to find the others.
    """
    head = deliveries.alias("head")
    return (
        select(head.c.seq)
        .where(
            in_state(State.PENDING, of=head),
            head.c.interactive == bindparam("interactive"),
            head.c.script == script.c.key,
            head.c.due <= bindparam("latest", type_=Instant),
            or_(head.c.expires.is_(None), head.c.expires > bindparam("now", type_=Instant)),
            or_(unordered, ~blocked_by_earlier(head)),
        )
        .order_by(head.c.due, head.c.seq)
        .limit(bindparam("slots", type_=Integer))
        .correlate(script)
    )


def _heads() -> Select[Any]:
    """The first due deliveries of every script."""
    first = _first_due(_SCRIPT, _SCRIPT.c.value == 0).scalar_subquery()
    return select(*_COLUMNS).select_from(_SCRIPT.join(deliveries, _c.seq.in_(first)))


def _heads_shared() -> Select[Any]:
    """The same for PostgreSQL, which would walk through all deliveries for `IN (... LIMIT ...)`."""
    first = _first_due(_SCRIPT_SHARED, _SCRIPT_SHARED.c.value == "false").lateral("first")
    return select(*_COLUMNS).select_from(
        _SCRIPT_SHARED.join(first, true()).join(deliveries, _c.seq == first.c.seq)
    )


_HEADS = _heads()
_HEADS_SHARED = _heads_shared()


def _take(
    conn: Connection,
    wanted: Sequence[RowMapping],
    *,
    beside: Sequence[RowMapping],
    ordered: Mapping[str, bool],
    latest: datetime,
) -> Sequence[RowMapping]:
    """Lock those of them that are still to be had, as they are now; `ordered`: by script.

    One mediator at a time claims of one ticket. It looks again once it holds the ticket's lock:
    an operator may have made an earlier delivery due while another mediator claimed a later one,
    and neither saw the other's. `beside`: what this claim has taken before, which does not run yet.
    """
    if not wanted or not locks.shared(conn):
        return wanted
    numbers = {row["seq"]: _ticket(row) for row in wanted if ordered[row["script"]]}
    ours = locks.try_for(conn, [number for number in numbers.values() if number is not None])
    ours -= {_ticket(row) for row in beside if ordered.get(row["script"])}
    seqs = [seq for row in wanted if numbers.get(seq := row["seq"]) in {None, *ours}]
    values = {
        "seqs": seqs,
        "unordered": [seq for seq in seqs if seq not in numbers],
        "latest": latest,
    }
    return list(conn.execute(_TAKE, values).mappings())


def _ticket(row: RowMapping) -> int | None:
    """The lock of its ticket; None: it has no number, and waits for nobody."""
    if row["ticket_id"] is None:
        return None
    kind = "interactive" if row["interactive"] else "trigger"
    return locks.number("ticket", row["script"], row["ticket_id"], kind)


_TAKE = (
    select(*_COLUMNS)
    .where(
        _c.seq.in_(bindparam("seqs", expanding=True)),
        PENDING,
        _c.due <= bindparam("latest", type_=Instant),
        or_(_c.seq.in_(bindparam("unordered", expanding=True)), ~blocked_by_earlier(deliveries)),
    )
    .order_by(_c.due, _c.seq)
    .with_for_update(skip_locked=True)
)


def next_due(conn: Connection, scripts: Collection[str], *, after: datetime) -> datetime | None:
    """When the next delivery of these scripts becomes due; interactive ones always are."""
    values = {"scripts": json.dumps(dict.fromkeys(scripts, False)), "after": after}
    query = _NEXT_DUE_SHARED if locks.shared(conn) else _NEXT_DUE
    return conn.execute(query, values).scalar()


def _next_due(script: TableValuedAlias) -> Select[Any]:
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


_NEXT_DUE = _next_due(_SCRIPT)
_NEXT_DUE_SHARED = _next_due(_SCRIPT_SHARED)


def clamp_due(conn: Connection, latest: Mapping[str, datetime], *, now: datetime) -> int:
    """Make due now what is due later than `latest` of its script; how many."""
    rows = [{"of": script, "latest": at, "now": now} for script, at in latest.items()]
    return conn.execute(_CLAMP_DUE, rows).rowcount if rows else 0


_CLAMP_DUE = (
    update(deliveries)
    .where(
        in_state(State.PENDING),
        _c.interactive == false(),
        _c.script == bindparam("of"),
        _c.due > bindparam("latest", type_=Instant),
    )
    .values(due=bindparam("now", type_=Instant))
)
