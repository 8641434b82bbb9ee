"""Which version of the script an attempt ran."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "attempts", sa.Column("script_sha256", sa.Text, nullable=False, server_default="")
    )
