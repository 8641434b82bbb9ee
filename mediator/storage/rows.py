"""Between rows and the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from mediator.errors import NotFound
from mediator.model.attempts import Attempt, Output
from mediator.model.deliveries import Delivery, NewDelivery, State, TicketFields
from mediator.storage.tables import attempts, deliveries
from mediator.tracing.context import TraceContext, read_context

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


def one(conn: Connection, delivery_id: str, *, to_change: bool = False) -> RowMapping:
    """The row of a delivery, all columns; `to_change`: nobody else changes it meanwhile.

    Raises `NotFound`.
    """
    query = select(deliveries).where(deliveries.c.id == delivery_id)
    row = conn.execute(query.with_for_update() if to_change else query).mappings().first()
    if row is None:
        raise NotFound(f"there is no delivery {delivery_id}; `mediator deliveries list` shows them")
    return row
