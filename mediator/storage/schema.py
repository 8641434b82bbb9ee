"""The schema of the database, and its history of revisions, which Alembic applies."""

from __future__ import annotations

from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from mediator.errors import SettingsError
from mediator.storage import locks

VERSIONS = "mediator.storage:migrations/versions"
"""Where the revisions of this program are, as Alembic names a directory of a package."""


@dataclass(frozen=True, slots=True)
class SchemaHistory:
    """Every revision of the schema, in order."""

    versions: tuple[str, ...] = (VERSIONS,)
    """directories with revisions"""

    def upgrade(self, connection: Connection) -> None:
        """Bring the schema up to date, all or nothing, in the transaction of `connection`.

        Raises `SettingsError` when it is newer than this program.
        """
        if locks.shared(connection):  # one after another; the second finds nothing left to do
            locks.wait_for(connection, [locks.number("migrate")])
        self.revision(connection)
        command.upgrade(self._configuration(connection), "head")

    def check(self, connection: Connection) -> None:
        """Raises `SettingsError` unless the schema is the one of this program."""
        current = self.revision(connection)
        if current != self.newest():
            had = "has no schema yet" if current is None else f"has the older schema {current}"
            raise SettingsError(
                f"store.url: the database {had}, and this mediator needs {self.newest()}; run"
                " `mediator migrate` with the same settings, then start it again"
            )

    def newest(self) -> str | None:
        """The schema of this program."""
        return ScriptDirectory.from_config(self._configuration()).get_current_head()

    def revision(self, connection: Connection) -> str | None:
        """The schema of the database; None: it has none.

        Raises `SettingsError` when it is newer.
        """
        current = MigrationContext.configure(connection).get_current_revision()
        history = ScriptDirectory.from_config(self._configuration())
        if current not in {None, *(script.revision for script in history.walk_revisions())}:
            raise SettingsError(
                f"store.url: the store was written by a newer mediator (schema {current}); run that"
                " version or a later one"
            )
        return current

    def _configuration(self, connection: Connection | None = None) -> Config:
        """Alembic's configuration; it needs no file."""
        config = Config()
        config.set_main_option("script_location", "mediator.storage:migrations")
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", "\n".join(self.versions))
        config.attributes["connection"] = connection
        return config


HISTORY = SchemaHistory()
"""The history that every store has."""
