"""Statements that remove ended deliveries, oldest end first, a few at a time.

Few by number and by size: the pages of a large ticket are read one by one to free them, and who
hands over a ticket meanwhile waits for that.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, tuple_

from mediator.model.delivery import State
from mediator.storage.interface import RetentionRule
from mediator.storage.tables import Instant, attempts, deliveries, in_state, tickets

MOST_AT_ONCE = 200
"""Deliveries in one transaction, which then takes some 25 ms."""
LARGEST_AT_ONCE = 8 * 2**20
"""Bytes of tickets and outputs in one transaction, the last delivery's aside."""
_LAST_SEQ = 2**63 - 1

End = tuple[datetime, int]
"""In the order of ends: when one ended, and its `seq`."""
_c = deliveries.c


def cutoff(conn: Connection, rule: RetentionRule) -> End | None:
    """The youngest end that need not be kept; None: all are kept."""
    found: list[End] = []
    if rule.since is not None:
        found.append((rule.since, _LAST_SEQ))
    if rule.most is not None:
        query = (
            select(_c.ended, _c.seq)
            .where(*_ended(rule.state))
            .order_by(_c.ended.desc(), _c.seq.desc())
            .offset(rule.most)
            .limit(1)
        )
        found += [(row.ended, row.seq) for row in conn.execute(query)]
    return min(max(found), (rule.always_since, _LAST_SEQ)) if found else None


def remove(conn: Connection, rule: RetentionRule, last: End) -> int:
    """Remove some that ended no later than `last`, with tickets and attempts; how many."""
    values = {"ended": last[0], "seq": last[1], "always": rule.always_since}
    seqs: list[int] = []
    size = 0
    for seq, bytes_ in conn.execute(_candidates(rule.state), values):
        seqs.append(seq)
        size += bytes_
        if size >= LARGEST_AT_ONCE:
            break
    if seqs:
        conn.execute(_REMOVE, {"seqs": seqs})
    return len(seqs)


def _ended(state: State) -> tuple[ColumnElement[bool], ...]:
    return in_state(state), _c.ended.is_not(None)


def _candidates(state: State) -> Any:
    last = tuple_(bindparam("ended", type_=Instant), bindparam("seq"))
    return (
        select(_c.seq, func.length(tickets.c.body) + func.coalesce(_outputs(), 0))
        .join(tickets, tickets.c.delivery == _c.seq)
        .where(
            *_ended(state),
            tuple_(_c.ended, _c.seq) <= last,
            # Of a clock that was set back, the end can be before the beginning.
            _c.received <= bindparam("always", type_=Instant),
        )
        .order_by(_c.ended, _c.seq)
        .limit(MOST_AT_ONCE)
        # One that an operator has made again at this moment is not removed.
        .with_for_update(of=deliveries, skip_locked=True)
    )


def _outputs() -> Any:
    a = attempts.c
    parts = (a.stdout_head, a.stdout_tail, a.stderr_head, a.stderr_tail)
    head, *rest = (func.length(part) for part in parts)
    return select(func.sum(sum(rest, head))).where(a.delivery == _c.seq).scalar_subquery()


_REMOVE = delete(deliveries).where(_c.seq.in_(bindparam("seqs", expanding=True)))
