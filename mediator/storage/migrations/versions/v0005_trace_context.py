"""The span that handed a delivery over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    for name in ("traceparent", "tracestate"):
        op.add_column("deliveries", sa.Column(name, sa.Text))
