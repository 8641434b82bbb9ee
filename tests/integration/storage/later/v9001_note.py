"""A revision that this program does not have: one of the program after it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mediator.storage.schema import HISTORY

revision = "9001"
down_revision = HISTORY.newest()
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("deliveries", sa.Column("note", sa.Text))
