"""Claims beside other mediators, which claim at the same time.

PostgreSQL shows every statement what was committed before it began (READ COMMITTED). So what a
claim has found may be taken by the time it takes it; it is locked and looked at again first. What
others have locked is passed over, never waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, bindparam, func, or_, select

from mediator.storage import locking
from mediator.storage.columns import Instant
from mediator.storage.states import PENDING, RUNNING, one_before
from mediator.storage.tables import deliveries

_c = deliveries.c
COLUMNS = (_c.seq, _c.script, _c.due, _c.attempts_made, _c.ticket_id, _c.interactive)
"""What a claim needs to know of a delivery before it takes it."""
_BY_SCRIPT = select(_c.script, func.count()).where(RUNNING).group_by(_c.script)
_TAKE = (
    select(*COLUMNS)
    .where(
        _c.seq.in_(bindparam("seqs", expanding=True)),
        PENDING,
        _c.due <= bindparam("latest", type_=Instant),
        or_(_c.seq.in_(bindparam("unordered", expanding=True)), ~one_before(deliveries)),
    )
    .order_by(_c.due, _c.seq)
    .with_for_update(skip_locked=True)
)


def room_left(
    conn: Connection, room: Mapping[str, int], limits: Mapping[str, int]
) -> dict[str, int]:
    """The room that is left when what runs elsewhere is counted.

    A script with a limit is claimed by one mediator at a time: two that counted at once would both
    find room.
    """
    numbers = {name: locking.number("limit", name) for name in room if name in limits}
    if not numbers:
        return dict(room)
    ours = locking.try_for(conn, numbers.values())
    running: dict[str, int] = {script: count for script, count in conn.execute(_BY_SCRIPT)}  # noqa: C416 - rows
    left = {
        name: min(room[name], limits[name] - running.get(name, 0)) if lock in ours else 0
        for name, lock in numbers.items()
    }
    return {**room, **left}


def take(
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
    if not wanted or not locking.shared(conn):
        return wanted
    numbers = {row["seq"]: _ticket(row) for row in wanted if ordered[row["script"]]}
    ours = locking.try_for(conn, [number for number in numbers.values() if number is not None])
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
    return locking.number("ticket", row["script"], row["ticket_id"], kind)
