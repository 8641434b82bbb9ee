"""The tables as the statements see them. Migrations create them; a test compares the two.

A ticket's bytes have a table of their own, so that a change of a delivery's state does not
rewrite them and a list of deliveries does not read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    exists,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from mediator.errors import NotFound
from mediator.model.delivery import (
    Attempt,
    Delivery,
    NewDelivery,
    Outcome,
    Output,
    State,
    TicketFields,
)
from mediator.tracing.context import TraceContext, read_context

# Column types that mean the same on every database.

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """A time as `Instant` keeps it."""
    return (time - _EPOCH) // _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """A time with zone UTC, kept as whole microseconds since 1970: it sorts and never shifts."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        del dialect
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        del dialect
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class SafeText(TypeDecorator[str]):
    """Text for a person. What a database cannot keep (a NUL, half a character) is spelled out.

    A path of a script may hold such bytes, and no attempt may go unrecorded for it.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        del dialect
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class Json(TypeDecorator[Any]):
    """A document as ASCII JSON text.

    Text instead of a JSON type of the database, because arguments may hold bytes that are not
    UTF-8 (as lone surrogates), which those refuse.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """To the database."""
        del dialect
        return json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the database."""
        del dialect
        return json.loads(value)


class EnumText(TypeDecorator[StrEnum]):
    """A word from a closed set, kept as text so that a person can read the table."""

    impl = String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__(20)
        self.words = words

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        """To the database."""
        del dialect
        return None if value is None else value.value

    def process_result_value(self, value: Any, dialect: Dialect) -> StrEnum | None:
        """From the database."""
        del dialect
        return None if value is None else self.words(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

# SQLite numbers rows by itself only for a column declared exactly INTEGER.
Seq = BigInteger().with_variant(Integer, "sqlite")

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", Seq, primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("script", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("arguments", Json, nullable=False),
    Column("variables", Json, nullable=False),
    Column("ticket_id", Text),
    Column("ticket", Json, nullable=False),
    Column("interactive", Boolean, nullable=False),
    Column("state", EnumText(State), nullable=False),
    Column("received", Instant, nullable=False),
    Column("due", Instant),
    Column("ended", Instant),
    Column("expires", Instant),
    Column("key_id", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("content", LargeBinary(32), nullable=False),
    Column("budget_start", Instant, nullable=False),
    Column("attempts_made", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("last_error", SafeText, nullable=False),
    Column("owner", Text),
    Column("lease", Instant),
    Column("stop_asked", Boolean, nullable=False),
    Column("traceparent", Text),
    Column("tracestate", Text),
    UniqueConstraint("idempotency_key", "key_id"),
)


def _only(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


_c = deliveries.c
# Claims look here, script by script: a full script's backlog is not walked through. With the state
# in it, a count reads nothing else.
Index(
    "ix_deliveries_pending",
    _c.interactive,
    _c.script,
    _c.due,
    _c.seq,
    _c.state,
    **_only("state = 'pending'"),
)
# Which delivery of a ticket goes before which.
Index(
    "ix_deliveries_unfinished",
    _c.ticket_id,
    _c.script,
    _c.seq,
    **_only("state IN ('pending', 'running')"),
)
# Rare states are counted, and listed newest first, without a walk past all that succeeded.
Index("ix_deliveries_waiting", _c.seq, **_only("state = 'pending'"))
Index("ix_deliveries_running", _c.seq, **_only("state = 'running'"))
Index("ix_deliveries_dead", _c.seq, **_only("state = 'dead'"))
Index("ix_deliveries_cancelled", _c.seq, **_only("state = 'cancelled'"))
# What is removed is what ended first.
Index("ix_deliveries_ended", _c.state, _c.ended, _c.seq, **_only("ended IS NOT NULL"))
Index("ix_deliveries_content", _c.content, _c.received)
Index("ix_deliveries_script", _c.script, _c.seq)
Index("ix_deliveries_ticket", _c.ticket_id, _c.seq)

tickets = Table(
    "tickets",
    metadata,
    Column("delivery", ForeignKey(_c.seq, ondelete="CASCADE"), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("delivery", ForeignKey(_c.seq, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("outcome", EnumText(Outcome)),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("reason", SafeText, nullable=False),
    Column("script_sha256", Text, nullable=False, server_default=""),
    Column("stdout_head", LargeBinary, nullable=False),
    Column("stdout_tail", LargeBinary, nullable=False),
    Column("stdout_omitted", BigInteger, nullable=False),
    Column("stderr_head", LargeBinary, nullable=False),
    Column("stderr_tail", LargeBinary, nullable=False),
    Column("stderr_omitted", BigInteger, nullable=False),
)


# Conditions on the state of a delivery, and of others of its ticket.


def in_state(*states: State, of: FromClause = deliveries) -> ColumnElement[bool]:
    """That a delivery is in this state, or in one of these."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state.value}'") for state in states]
    column = of.c.state
    return column == words[0] if len(words) == 1 else column.in_(words)


def blocked_by_earlier(head: FromClause) -> ColumnElement[bool]:
    """Another delivery of the same script and ticket arrived earlier and is unfinished, or runs.

    One that arrived later can run: when an operator has an ended delivery made again.
    """
    other = deliveries.alias("other")
    return exists().where(
        other.c.ticket_id == head.c.ticket_id,
        other.c.script == head.c.script,
        in_state(State.PENDING, State.RUNNING, of=other),
        or_(other.c.seq < head.c.seq, in_state(State.RUNNING, of=other)),
        other.c.interactive == head.c.interactive,
    )


PENDING = in_state(State.PENDING)
RUNNING = in_state(State.RUNNING)
DEAD = in_state(State.DEAD)


# Between rows and the model.

_PLAIN = (
    "seq",
    "id",
    "script",
    "event",
    "variables",
    "interactive",
    "state",
    "received",
    "due",
    "ended",
    "expires",
    "key_id",
    "budget_start",
    "attempts_made",
    "failures",
    "losses",
    "last_error",
)

_ATTEMPT = (
    "number",
    "started",
    "ended",
    "outcome",
    "exit_code",
    "signal",
    "reason",
    "script_sha256",
)
_TRACE = ("traceparent", "tracestate")
_TICKET = tuple(field.name for field in fields(TicketFields))

DELIVERY = [deliveries.c[name] for name in (*_PLAIN, "arguments", "ticket", *_TRACE)]
"""The columns `to_delivery` needs."""

SUMMARY = [attempts.c[n] for n in attempts.c.keys() if not n.startswith(("stdout", "stderr"))]  # noqa: SIM118 - a ColumnCollection iterates over columns, not names
"""The columns of an attempt without its outputs."""


def to_delivery(row: RowMapping, attempts_: Iterable[Attempt] = ()) -> Delivery:
    """A delivery from a row with the columns `DELIVERY`."""
    return Delivery(
        **{name: row[name] for name in _PLAIN},
        arguments=tuple(row["arguments"]),
        ticket=TicketFields(**row["ticket"]),
        trace=_trace(row),
        attempts=tuple(attempts_),
    )


def _trace(row: RowMapping) -> TraceContext | None:
    parent, state = (row[name] for name in _TRACE)
    return None if parent is None else read_context([parent], [state or ""])


def to_attempt(row: RowMapping) -> Attempt:
    """An attempt from a row, with outputs where they were read."""
    return Attempt(
        **{name: row[name] for name in _ATTEMPT},
        stdout=_output(row, "stdout"),
        stderr=_output(row, "stderr"),
    )


def _output(row: RowMapping, stream: str) -> Output:
    if f"{stream}_head" not in row:
        return Output()
    return Output(
        head=row[f"{stream}_head"],
        tail=row[f"{stream}_tail"],
        omitted=row[f"{stream}_omitted"],
    )


def output_values(stream: str, output: Output) -> dict[str, Any]:
    """The columns of one stream of an attempt."""
    return {
        f"{stream}_head": output.head,
        f"{stream}_tail": output.tail,
        f"{stream}_omitted": output.omitted,
    }


def new_row(new: NewDelivery, content: bytes) -> dict[str, Any]:
    """The row of a delivery just accepted."""
    return {
        "id": new.id,
        "script": new.script,
        "event": new.event,
        "arguments": list(new.arguments),
        "variables": dict(new.variables),
        "ticket_id": new.ticket.id,
        "ticket": {k: v for k in _TICKET if (v := getattr(new.ticket, k)) is not None},
        "interactive": new.interactive,
        "state": State.PENDING,
        "received": new.received,
        "due": new.received,
        "expires": new.expires,
        "key_id": new.key_id,
        "idempotency_key": new.idempotency_key,
        "content": content,
        "budget_start": new.received,
        "attempts_made": 0,
        "failures": 0,
        "losses": 0,
        "last_error": "",
        "stop_asked": False,
        "traceparent": new.trace and new.trace.traceparent,
        "tracestate": (new.trace and new.trace.state) or None,
    }


def row_of(conn: Connection, delivery_id: str, *, to_change: bool = False) -> RowMapping:
    """The row of a delivery, all columns; `to_change`: nobody else changes it meanwhile.

    Raises `NotFound`.
    """
    query = select(deliveries).where(deliveries.c.id == delivery_id)
    row = conn.execute(query.with_for_update() if to_change else query).mappings().first()
    if row is None:
        raise NotFound(f"there is no delivery {delivery_id}; `mediator deliveries list` shows them")
    return row
