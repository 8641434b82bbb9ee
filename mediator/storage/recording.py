"""Statements that close attempts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from mediator.model.deliveries import State
from mediator.storage.port import Finish
from mediator.storage.rows import output_values
from mediator.storage.tables import attempts, deliveries

_c = deliveries.c


def finish(conn: Connection, batch: Sequence[Finish]) -> list[bool]:
    """Close each attempt that is still its owner's; say which were."""
    return [_finish(conn, item) for item in batch]


def _finish(conn: Connection, item: Finish) -> bool:
    """The delivery is changed first: its owner and attempt number fence off a late reporter."""
    if not _apply_verdict(conn, item):
        return False
    seq = select(_c.seq).where(_c.id == item.delivery_id)
    ended = item.ended
    conn.execute(
        update(attempts)
        .where(attempts.c.delivery == seq.scalar_subquery(), attempts.c.number == item.number)
        .values(
            ended=item.at,
            outcome=ended.outcome,
            exit_code=ended.exit_code,
            signal=ended.signal,
            reason=ended.reason,
            **output_values("stdout", ended.stdout),
            **output_values("stderr", ended.stderr),
        )
    )
    return True


def _apply_verdict(conn: Connection, item: Finish) -> bool:
    verdict = item.verdict
    result = conn.execute(
        update(deliveries)
        .where(
            _c.id == item.delivery_id,
            _c.state == State.RUNNING,
            _c.owner == item.owner,
            _c.attempts_made == item.number,
        )
        .values(
            state=verdict.state,
            due=verdict.due,
            ended=item.at if verdict.state.ended else None,
            failures=_c.failures + int(verdict.charged),
            last_error=verdict.error,
            owner=None,
            lease=None,
            stop_asked=False,
        )
    )
    return result.rowcount == 1
