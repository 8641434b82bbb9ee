"""The history of the schema, applied by Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from mediator.errors import SettingsError
from mediator.storage import locking


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
    if locking.shared(connection):  # one after another; the second finds nothing left to do
        locking.wait_for(connection, [locking.number("migrate")])
    revision(connection)
    command.upgrade(configuration(connection), "head")


def check(connection: Connection) -> None:
    """Raises `SettingsError` unless the schema is the one of this program."""
    current = revision(connection)
    if current != newest():
        had = "has no schema yet" if current is None else f"has the older schema {current}"
        raise SettingsError(
            f"store.url: the database {had}, and this mediator needs {newest()}; run"
            " `mediator migrate` with the same settings, then start it again"
        )


def newest() -> str | None:
    """The schema of this program."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def revision(connection: Connection) -> str | None:
    """The schema of the database; None: it has none. Raises `SettingsError` when it is newer."""
    current = MigrationContext.configure(connection).get_current_revision()
    history = ScriptDirectory.from_config(configuration())
    if current not in {None, *(script.revision for script in history.walk_revisions())}:
        raise SettingsError(
            f"store.url: the store was written by a newer mediator (schema {current}); run that"
            " version or a later one"
        )
    return current
