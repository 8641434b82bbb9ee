"""Alembic runs this to apply migrations on a connection it is given."""

from __future__ import annotations

from alembic import context

from mediator.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
