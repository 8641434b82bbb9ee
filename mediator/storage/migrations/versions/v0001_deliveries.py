"""Deliveries, their tickets and their attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    _deliveries()
    _indexes()
    _tickets()
    _attempts()


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("script", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("variables", sa.Text, nullable=False),
        sa.Column("ticket_id", sa.Text),
        sa.Column("ticket", sa.Text, nullable=False),
        sa.Column("interactive", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("ended", sa.BigInteger),
        sa.Column("expires", sa.BigInteger),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary(32), nullable=False),
        sa.Column("budget_start", sa.BigInteger, nullable=False),
        sa.Column("attempts_made", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("lease", sa.BigInteger),
        sa.Column("stop_asked", sa.Boolean, nullable=False),
        sa.Column("traceparent", sa.Text),
        sa.Column("tracestate", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
        sa.UniqueConstraint("id", name="uq_deliveries_id"),
        sa.UniqueConstraint(
            "idempotency_key", "key_id", name="uq_deliveries_idempotency_key_key_id"
        ),
    )


def _indexes() -> None:
    unfinished = "state IN ('pending', 'running')"
    for name, columns, condition in (
        ("pending", ["interactive", "script", "due", "seq", "state"], "state = 'pending'"),
        ("waiting", ["seq"], "state = 'pending'"),
        ("running", ["seq"], "state = 'running'"),
        ("unfinished", ["ticket_id", "script", "seq"], unfinished),
        ("dead", ["seq"], "state = 'dead'"),
        ("cancelled", ["seq"], "state = 'cancelled'"),
        ("ended", ["state", "ended", "seq"], "ended IS NOT NULL"),
        ("content", ["content", "received"], None),
        ("script", ["script", "seq"], None),
        ("ticket", ["ticket_id", "seq"], None),
    ):
        where = None if condition is None else sa.text(condition)
        op.create_index(
            f"ix_deliveries_{name}",
            "deliveries",
            columns,
            sqlite_where=where,
            postgresql_where=where,
        )


def _tickets() -> None:
    op.create_table(
        "tickets",
        sa.Column("delivery", _SEQ, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery"], ["deliveries.seq"], name="fk_tickets_delivery", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery", name="pk_tickets"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("delivery", _SEQ, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("outcome", sa.String(20)),
        sa.Column("exit_code", sa.Integer),
        sa.Column("signal", sa.Integer),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("script_sha256", sa.Text, nullable=False, server_default=""),
        sa.Column("stdout_head", sa.LargeBinary, nullable=False),
        sa.Column("stdout_tail", sa.LargeBinary, nullable=False),
        sa.Column("stdout_omitted", sa.BigInteger, nullable=False),
        sa.Column("stderr_head", sa.LargeBinary, nullable=False),
        sa.Column("stderr_tail", sa.LargeBinary, nullable=False),
        sa.Column("stderr_omitted", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery"], ["deliveries.seq"], name="fk_attempts_delivery", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery", "number", name="pk_attempts"),
    )
