"""An index in the order of ends, to remove deliveries by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    ended = sa.text("ended IS NOT NULL")
    op.create_index(
        "ix_deliveries_ended",
        "deliveries",
        ["state", "ended", "seq"],
        sqlite_where=ended,
        postgresql_where=ended,
    )
