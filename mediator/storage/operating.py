"""Statements behind what operators do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from mediator.errors import Conflict
from mediator.model.deliveries import Delivery, State
from mediator.storage.reading import find
from mediator.storage.rows import one
from mediator.storage.tables import deliveries

_c = deliveries.c


def retry(conn: Connection, delivery_id: str, *, now: datetime) -> Delivery:
    """Make a delivery due now, with a fresh budget."""
    row = one(conn, delivery_id, to_change=True)
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
    row = one(conn, delivery_id, to_change=True)
    state: State = row["state"]
    if state.ended:
        raise Conflict(f"delivery {delivery_id} has already ended ({state}); nothing to cancel")
    change: dict[str, Any] = {"stop_asked": True}
    if state is State.PENDING:
        change = {"state": State.CANCELLED, "due": None, "ended": now}
    change["last_error"] = reason
    conn.execute(update(deliveries).where(_c.seq == row["seq"]).values(change))
    return find(conn, delivery_id)
