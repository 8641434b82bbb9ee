"""Statements that keep what was handed over, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from mediator.errors import KeyReused
from mediator.model.deliveries import Accepted, NewDelivery, Repeat, State
from mediator.storage.rows import new_row
from mediator.storage.tables import deliveries, tickets

_c = deliveries.c


@dataclass(frozen=True, slots=True)
class _Known:
    id: str
    content: bytes


def accept(conn: Connection, batch: Sequence[NewDelivery]) -> list[Accepted | KeyReused]:
    """Keep those that are new; say of the others which delivery they repeat."""
    contents = [new.content for new in batch]
    by_key = _sent_before(conn, batch)
    by_content = _same_content(conn, batch, contents)
    answers: list[Accepted | KeyReused] = []
    rows: list[dict[str, Any]] = []
    bodies: list[bytes] = []
    for new, content in zip(batch, contents, strict=True):
        key = (new.key_id, new.idempotency_key)
        if (known := by_key.get(key)) is not None:
            answers.append(_resent(known, content))
        elif new.deduplicate_since is not None and content in by_content:
            answers.append(Accepted(id=by_content[content], repeat=Repeat.DUPLICATE))
        else:
            by_key[key] = _Known(new.id, content)
            if new.deduplicate_since is not None:
                by_content[content] = new.id
            rows.append(new_row(new, content))
            bodies.append(new.body)
            answers.append(Accepted(id=new.id, repeat=Repeat.NEW))
    _insert(conn, rows, bodies)
    return answers


def _resent(known: _Known, content: bytes) -> Accepted | KeyReused:
    if known.content != content:
        return KeyReused(
            f"the Idempotency-Key of this request was used before for delivery {known.id} with"
            " other content; every hand-over needs a key of its own"
        )
    return Accepted(id=known.id, repeat=Repeat.RESENT)


def _sent_before(conn: Connection, batch: Sequence[NewDelivery]) -> dict[tuple[str, str], _Known]:
    keys = list({new.idempotency_key for new in batch})
    query = select(_c.key_id, _c.idempotency_key, _c.id, _c.content).where(
        _c.idempotency_key.in_(keys)
    )
    return {(r.key_id, r.idempotency_key): _Known(r.id, r.content) for r in conn.execute(query)}


def _same_content(
    conn: Connection, batch: Sequence[NewDelivery], contents: Sequence[bytes]
) -> dict[bytes, str]:
    """Content → the oldest delivery of it in the window that is not dead or cancelled."""
    since = {
        content: new.deduplicate_since
        for new, content in zip(batch, contents, strict=True)
        if new.deduplicate_since is not None
    }
    if not since:
        return {}
    query = (
        select(_c.content, _c.id)
        .where(
            _c.content.in_(list(since)),
            _c.received > min(since.values()),
            _c.state.not_in([State.DEAD, State.CANCELLED]),
            _c.interactive.is_(False),
        )
        .order_by(_c.seq.desc())
    )
    return {row.content: row.id for row in conn.execute(query)}


def _insert(conn: Connection, rows: list[dict[str, Any]], bodies: list[bytes]) -> None:
    if not rows:
        return
    conn.execute(insert(deliveries), rows)
    ids = [row["id"] for row in rows]
    seqs = {r.id: r.seq for r in conn.execute(select(_c.id, _c.seq).where(_c.id.in_(ids)))}
    conn.execute(
        insert(tickets),
        [{"delivery": seqs[i], "body": body} for i, body in zip(ids, bodies, strict=True)],
    )
