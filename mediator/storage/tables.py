"""The tables as the statements see them. Migrations create them; a test compares the two.

A ticket's bytes have a table of their own, so that a change of a delivery's state does not
rewrite them and a list of deliveries does not read them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from mediator.model.attempts import Outcome
from mediator.model.deliveries import State
from mediator.storage.columns import Instant, Json, Sentence, Word

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
    Column("state", Word(State), nullable=False),
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
    Column("last_error", Sentence, nullable=False),
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
    Column("outcome", Word(Outcome)),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("reason", Sentence, nullable=False),
    Column("script_sha256", Text, nullable=False, server_default=""),
    Column("stdout_head", LargeBinary, nullable=False),
    Column("stdout_tail", LargeBinary, nullable=False),
    Column("stdout_omitted", BigInteger, nullable=False),
    Column("stderr_head", LargeBinary, nullable=False),
    Column("stderr_tail", LargeBinary, nullable=False),
    Column("stderr_omitted", BigInteger, nullable=False),
)
