"""An index that is enough to count what waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAME = "ix_deliveries_pending"
_PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    """Apply."""
    op.drop_index(_NAME, "deliveries")
    op.create_index(
        _NAME,
        "deliveries",
        ["interactive", "script", "due", "seq", "state"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
