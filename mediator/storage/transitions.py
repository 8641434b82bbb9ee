"""Statements that change a delivery: leases, ends of attempts, losses, and what operators wish."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    and_,
    bindparam,
    select,
    update,
)

from mediator.errors import Conflict
from mediator.model.delivery import Claim, Delivery, Fate, Outcome, State
from mediator.storage.claim import claims_of
from mediator.storage.interface import Finish, Held
from mediator.storage.queries import find
from mediator.storage.tables import (
    PENDING,
    RUNNING,
    attempts,
    deliveries,
    output_values,
    row_of,
)

_c = deliveries.c
MOST_LOSSES = 10
"""How often the mediator may die while running a delivery before the delivery is given up."""


def renew(
    conn: Connection, owner: str, running: Collection[str], *, lease: datetime
) -> frozenset[str]:
    """Extend the leases of what `owner` runs; which of it is to be stopped.

    To be stopped is what an operator wants stopped, and what is no longer the owner's.
    """
    values = {"by": owner, "ids": list(running)}
    held = {row.id: row.stop_asked for row in conn.execute(_STILL_HELD, values)}
    conn.execute(_RENEW, {**values, "until": lease})
    return frozenset(id_ for id_ in running if held.get(id_, True))


_HELD = and_(RUNNING, _c.owner == bindparam("by"), _c.id.in_(bindparam("ids", expanding=True)))
_STILL_HELD = select(_c.id, _c.stop_asked).where(_HELD).with_for_update()
_RENEW = update(deliveries).where(_HELD).values(lease=bindparam("until"))


def finish(conn: Connection, batch: Sequence[Finish]) -> list[State | None]:
    """Close each attempt that is still its owner's.

    The state its delivery is in now; None for a late reporter: owner and attempt number fence it
    off.
    """
    ids = list({item.delivery_id for item in batch})
    held = {row["id"]: row for row in conn.execute(_LOCKED, {"ids": ids}).mappings()}
    closed: list[dict[str, Any]] = []
    applied: list[dict[str, Any]] = []
    states: list[State | None] = []
    for item in batch:
        row = held.get(item.delivery_id)
        if row is None or (row["owner"], row["attempts_made"]) != (item.owner, item.number):
            states.append(None)
            continue
        del held[item.delivery_id]  # whoever reports it again is late
        closed.append(_closed(row, item))
        applied.append(_applied(row, item))
        states.append(applied[-1]["new_state"])
    if applied:
        conn.execute(_CLOSE, closed)
        conn.execute(_APPLY, applied)
    return states


_LOCKED = (
    select(_c.id, _c.seq, _c.owner, _c.attempts_made, _c.stop_asked, _c.last_error)
    .where(RUNNING, _c.id.in_(bindparam("ids", expanding=True)))
    .with_for_update()
)


def _closed(row: RowMapping, item: Finish) -> dict[str, Any]:
    ended = item.ended
    values = {
        "ended": item.at,
        "outcome": ended.outcome,
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "reason": ended.reason,
        "script_sha256": item.script_sha256,
        **output_values("stdout", ended.stdout),
        **output_values("stderr", ended.stderr),
    }
    return {"of": row["seq"], "which": item.number, **{f"new_{k}": v for k, v in values.items()}}


_OUTPUTS = [name for name in attempts.c.keys() if name.startswith(("stdout", "stderr"))]  # noqa: SIM118 - a ColumnCollection iterates over columns, not names
_CLOSED = ("ended", "outcome", "exit_code", "signal", "reason", "script_sha256", *_OUTPUTS)
_CLOSE = (
    update(attempts)
    .where(attempts.c.delivery == bindparam("of"), attempts.c.number == bindparam("which"))
    .values({name: bindparam(f"new_{name}") for name in _CLOSED})
)


def _applied(row: RowMapping, item: Finish) -> dict[str, Any]:
    """The verdict; but what an operator wants stopped is not made again."""
    verdict = item.verdict
    state, due, error = verdict.state, verdict.due, verdict.error
    if row["stop_asked"] and state in {State.PENDING, State.CANCELLED}:
        state, due, error = State.CANCELLED, None, row["last_error"]
    return {
        "of": row["seq"],
        "new_state": state,
        "new_due": due,
        "new_ended": item.at if state.ended else None,
        "charge": int(verdict.charged),
        "new_error": error,
    }


_APPLY = (
    update(deliveries)
    .where(_c.seq == bindparam("of"))
    .values(
        state=bindparam("new_state"),
        due=bindparam("new_due"),
        ended=bindparam("new_ended"),
        failures=_c.failures + bindparam("charge"),
        last_error=bindparam("new_error"),
        owner=None,
        lease=None,
        stop_asked=False,
    )
)


def held(conn: Connection) -> list[Held]:
    """All attempts that run."""
    return [_held(row) for row in conn.execute(_RUNNING).mappings()]


_RUNNING = select(_c.id, _c.attempts_made, _c.owner, _c.lease, _c.script).where(RUNNING)


def _held(row: RowMapping) -> Held:
    return Held(
        delivery_id=row["id"],
        number=row["attempts_made"],
        owner=row["owner"],
        lease=row["lease"],
        script=row["script"],
    )


def recover(conn: Connection, lost: Collection[Held], *, now: datetime) -> list[Fate]:
    """Put back what is still as it was seen."""
    return [_put_back(conn, row, now) for row in _still(conn, lost)]


def _put_back(conn: Connection, row: RowMapping, now: datetime) -> Fate:
    losses = row["losses"] + 1
    state, error = _after_loss(row, losses)
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
            due=None if state.ended else now,
            ended=now if state.ended else None,
            owner=None,
            lease=None,
            stop_asked=False,
            last_error=error,
        )
    )
    return _fate(row, state, error)


_LOST = "the mediator stopped while this attempt ran; how it ended is unknown"


def _after_loss(row: RowMapping, losses: int) -> tuple[State, str]:
    """What becomes of a delivery whose attempt was lost, and why."""
    if row["stop_asked"]:
        return State.CANCELLED, row["last_error"]
    if losses >= MOST_LOSSES:
        return State.DEAD, f"the mediator stopped {losses} times while running this"
    return State.PENDING, _LOST


def _still(conn: Connection, lost: Collection[Held]) -> list[RowMapping]:
    """What is still as it was seen; what somebody changes at this moment is not lost."""
    seen = set(lost)
    found = conn.execute(_SEEN, {"ids": [item.delivery_id for item in lost]}).mappings()
    return [row for row in found if _held(row) in seen]


_FATE = (_c.id, _c.ticket_id, _c.script, _c.event, _c.interactive, _c.budget_start)
"""The columns that tell whose fate it is."""
_SEEN = (
    select(
        *_FATE,
        _c.seq,
        _c.attempts_made,
        _c.owner,
        _c.lease,
        _c.losses,
        _c.stop_asked,
        _c.last_error,
    )
    .where(RUNNING, _c.id.in_(bindparam("ids", expanding=True)))
    .with_for_update(skip_locked=True)
)


def _fate(row: RowMapping, state: State, reason: str) -> Fate:
    return Fate(**{column.name: row[column.name] for column in _FATE}, state=state, reason=reason)


def adopt(conn: Connection, lost: Collection[Held], *, owner: str, lease: datetime) -> list[Claim]:
    """Take over what is still as it was seen: the same attempt, which runs without its mediator."""
    seqs = [row["seq"] for row in _still(conn, lost)]
    if not seqs:
        return []
    conn.execute(_ADOPT, {"seqs": seqs, "by": owner, "until": lease})
    return claims_of(conn, seqs, owner)


_ADOPT = (
    update(deliveries)
    .where(_c.seq.in_(bindparam("seqs", expanding=True)))
    .values(owner=bindparam("by"), lease=bindparam("until"))
)


def expire(conn: Connection, *, now: datetime) -> list[Fate]:
    """Cancel interactive deliveries that have not started while their caller waited."""
    rows = conn.execute(_LATE, {"now": now, "kind": True}).mappings()
    late = [_fate(row, State.CANCELLED, _TOO_LATE) for row in rows]
    if late:
        conn.execute(_GIVE_UP, {"ids": [fate.id for fate in late], "now": now})
    return late


_TOO_LATE = "no slot was free before the caller's deadline"
_LATE = (
    select(*_FATE)
    .where(PENDING, _c.interactive == bindparam("kind"), _c.expires <= bindparam("now"))
    .with_for_update(skip_locked=True)
)
_GIVE_UP = (
    update(deliveries)
    .where(_c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=State.CANCELLED,
        due=None,
        ended=bindparam("now"),
        last_error=_TOO_LATE,
    )
)


def retry(conn: Connection, delivery_id: str, *, now: datetime) -> Delivery:
    """Make a delivery due now, with a fresh budget."""
    row = row_of(conn, delivery_id, to_change=True)
    if row["state"] is State.RUNNING:
        raise Conflict(f"delivery {delivery_id} is running; wait for its end or cancel it first")
    conn.execute(
        update(deliveries)
        .where(_c.seq == row["seq"])
        .values(
            state=State.PENDING,
            due=now,
            ended=None,
            expires=None,
            budget_start=now,
            failures=0,
            losses=0,
            stop_asked=False,
        )
    )
    return find(conn, delivery_id)


def cancel(conn: Connection, delivery_id: str, *, now: datetime, reason: str) -> Delivery:
    """End a pending delivery; mark a running one to be stopped. Both remember `reason`."""
    row = row_of(conn, delivery_id, to_change=True)
    state: State = row["state"]
    if state.ended:
        raise Conflict(f"delivery {delivery_id} has already ended ({state}); nothing to cancel")
    change: dict[str, Any] = {"stop_asked": True}
    if state is State.PENDING:
        change = {"state": State.CANCELLED, "due": None, "ended": now}
    change["last_error"] = reason
    conn.execute(update(deliveries).where(_c.seq == row["seq"]).values(change))
    return find(conn, delivery_id)
