"""Statements that close attempts, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select, update

from mediator.model.deliveries import State
from mediator.storage.port import Finish
from mediator.storage.rows import output_values
from mediator.storage.states import RUNNING
from mediator.storage.tables import attempts, deliveries

_c = deliveries.c
_OUTPUTS = [name for name in attempts.c.keys() if name.startswith(("stdout", "stderr"))]  # noqa: SIM118 - a ColumnCollection iterates over columns, not names
_CLOSED = ("ended", "outcome", "exit_code", "signal", "reason", "script_sha256", *_OUTPUTS)

_HELD = (
    select(_c.id, _c.seq, _c.owner, _c.attempts_made, _c.stop_asked, _c.last_error)
    .where(RUNNING, _c.id.in_(bindparam("ids", expanding=True)))
    .with_for_update()
)
_CLOSE = (
    update(attempts)
    .where(attempts.c.delivery == bindparam("of"), attempts.c.number == bindparam("which"))
    .values({name: bindparam(f"new_{name}") for name in _CLOSED})
)
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


def finish(conn: Connection, batch: Sequence[Finish]) -> list[State | None]:
    """Close each attempt that is still its owner's.

    The state its delivery is in now; None for a late reporter: owner and attempt number fence it
    off.
    """
    ids = list({item.delivery_id for item in batch})
    held = {row["id"]: row for row in conn.execute(_HELD, {"ids": ids}).mappings()}
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
