"""Statements that only read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, false, func, select

from mediator.model.attempts import Attempt
from mediator.model.deliveries import Delivery
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


def _count(conn: Connection, condition: ColumnElement[bool]) -> int:
    return conn.execute(select(func.count()).select_from(deliveries).where(condition)).scalar_one()
