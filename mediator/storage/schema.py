"""The history of the schema, applied by Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from mediator.errors import SettingsError


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration; it needs no file."""
    config = Config()
    config.set_main_option("script_location", "mediator.storage:migrations")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Bring the schema up to date, all or nothing, in the transaction that `connection` is in.

    Raises `SettingsError` when it is newer than this program.
    """
    config = configuration(connection)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise SettingsError(
            f"store.url: the store was written by a newer mediator (schema {current}); run that"
            " version or a later one"
        )
    command.upgrade(config, "head")
