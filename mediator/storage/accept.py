"""Statements that keep what was handed over, many at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from mediator.errors import KeyReused
from mediator.model.delivery import Accepted, NewDelivery, Repeat, State
from mediator.storage import locks
from mediator.storage.tables import Instant, deliveries, in_state, new_row, tickets

_c = deliveries.c


def accept(conn: Connection, batch: Sequence[NewDelivery]) -> list[Accepted | KeyReused]:
    """Keep those that are new; say of the others which delivery they repeat."""
    contents = [new.content for new in batch]
    locks.wait_for(conn, [*_locks(batch, contents)])
    before = _Before(conn, batch, contents)
    answers: list[Accepted | KeyReused] = []
    kept: list[tuple[NewDelivery, bytes]] = []
    for new, content in zip(batch, contents, strict=True):
        answer = before.answer(new, content)
        if answer is None:
            before.add(new, content)
            kept.append((new, content))
            answer = Accepted(id=new.id, repeat=Repeat.NEW)
        answers.append(answer)
    _insert(conn, kept)
    return answers


def _locks(batch: Sequence[NewDelivery], contents: Sequence[bytes]) -> Iterator[int]:
    """What two mediators must not look for at once, as both would find nothing and keep it."""
    for new, content in zip(batch, contents, strict=True):
        yield locks.number("key", new.key_id, new.idempotency_key)
        if not new.interactive:
            yield locks.number("content", content)


def _insert(conn: Connection, kept: Sequence[tuple[NewDelivery, bytes]]) -> None:
    if not kept:
        return
    rows: list[dict[str, Any]] = [new_row(new, content) for new, content in kept]
    conn.execute(_DELIVERY, rows)
    conn.execute(_BODY, [{"delivery_id": new.id, "body": new.body} for new, _ in kept])


_DELIVERY = insert(deliveries)
_BODY = insert(tickets).from_select(
    ["delivery", "body"],
    select(_c.seq, bindparam("body", type_=tickets.c.body.type)).where(
        _c.id == bindparam("delivery_id")
    ),
)


def accept_together(conn: Connection, batch: Sequence[NewDelivery]) -> list[Accepted]:
    """Keep all of them or, when one cannot be kept, none. Raises `KeyReused`."""
    answers = accept(conn, batch)
    kept = [answer for answer in answers if isinstance(answer, Accepted)]
    for answer in answers:
        if not isinstance(answer, Accepted):
            raise answer
    return kept


def recognise(conn: Connection, batch: Sequence[NewDelivery]) -> list[Accepted | None]:
    """Say which deliveries they repeat; None for those that are new. Raises `KeyReused`."""
    contents = [new.content for new in batch]
    before = _Before(conn, batch, contents)
    answers: list[Accepted | None] = []
    for new, content in zip(batch, contents, strict=True):
        answer = before.answer(new, content)
        if isinstance(answer, KeyReused):
            raise answer
        answers.append(answer)
    return answers


class _Before:
    """What was handed over earlier that a batch may repeat, also in the batch itself."""

    def __init__(
        self, conn: Connection, batch: Sequence[NewDelivery], contents: Sequence[bytes]
    ) -> None:
        self._by_key = _sent_before(conn, batch)
        self._by_content = _same_content(conn, batch, contents)

    def answer(self, new: NewDelivery, content: bytes) -> Accepted | KeyReused | None:
        """Which delivery it repeats; None: none."""
        if (known := self._by_key.get((new.key_id, new.idempotency_key))) is not None:
            return _resent(known, content)
        if (first := _first(self._by_content[content], new.deduplicate_since)) is not None:
            return Accepted(id=first.id, repeat=Repeat.DUPLICATE)
        return None

    def add(self, new: NewDelivery, content: bytes) -> None:
        """Remember it for those after it."""
        known = _Known(new.id, content, new.received)
        self._by_key[new.key_id, new.idempotency_key] = known
        if not new.interactive:
            self._by_content[content].append(known)


def _resent(known: _Known, content: bytes) -> Accepted | KeyReused:
    if known.content != content:
        return KeyReused(
            f"the Idempotency-Key of this request was used before for delivery {known.id} with"
            " other content; every hand-over needs a key of its own"
        )
    return Accepted(id=known.id, repeat=Repeat.RESENT)


def _first(same: Sequence[_Known], since: datetime | None) -> _Known | None:
    """The oldest in the window that begins after `since`; None without a window."""
    if since is None:
        return None
    return next((known for known in same if known.received > since), None)


def _sent_before(conn: Connection, batch: Sequence[NewDelivery]) -> dict[tuple[str, str], _Known]:
    keys = list({new.idempotency_key for new in batch})
    return {
        (row.key_id, row.idempotency_key): _Known(row.id, row.content, row.received)
        for row in conn.execute(_BY_KEY, {"keys": keys})
    }


_BY_KEY = select(_c.key_id, _c.idempotency_key, _c.id, _c.content, _c.received).where(
    _c.idempotency_key.in_(bindparam("keys", expanding=True))
)


def _same_content(
    conn: Connection, batch: Sequence[NewDelivery], contents: Sequence[bytes]
) -> _Contents:
    """Content → its deliveries that are neither dead nor cancelled, oldest first."""
    windows = [
        (content, new.deduplicate_since)
        for new, content in zip(batch, contents, strict=True)
        if new.deduplicate_since is not None
    ]
    found: _Contents = defaultdict(list)
    if windows:
        since = min(since for _, since in windows)
        values = {"contents": list({content for content, _ in windows}), "since": since}
        for row in conn.execute(_BY_CONTENT, values):
            found[row.content].append(_Known(row.id, row.content, row.received))
    return found


_BY_CONTENT = (
    select(_c.content, _c.id, _c.received)
    .where(
        _c.content.in_(bindparam("contents", expanding=True)),
        _c.received > bindparam("since", type_=Instant),
        ~in_state(State.DEAD, State.CANCELLED),
        _c.interactive.is_(False),
    )
    .order_by(_c.seq)
)


@dataclass(frozen=True, slots=True)
class _Known:
    id: str
    content: bytes
    received: datetime


_Contents = defaultdict[bytes, list[_Known]]
