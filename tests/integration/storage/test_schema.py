"""The schema: all migrations applied make the tables, and one program follows another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from mediator.errors import SettingsError
from mediator.settings.schema import Store
from mediator.storage.factory import migrate
from mediator.storage.interface import Search
from mediator.storage.postgres import PostgresDatabase, Server, once
from mediator.storage.schema import HISTORY, VERSIONS, SchemaHistory
from mediator.storage.sqlite import SqliteDatabase, SqliteStore
from mediator.storage.store import SqlStore
from mediator.storage.tables import metadata
from tests.support.postgresql import Postgresql, ask
from tests.support.store import new

NEXT = SchemaHistory((VERSIONS, str(Path(__file__).parent / "later")))
"""The history of the program after this one."""
NOW, LATER = HISTORY.newest(), NEXT.newest()

Run = Callable[[str, Callable[[Connection], object]], None]


def on_sqlite(url: str, work: Callable[[Connection], object]) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        work(connection)
    engine.dispose()


def on_postgresql(url: str, work: Callable[[Connection], object]) -> None:
    once(Server(url=url), work)


def described(connection: Connection) -> dict[str, Any]:
    """All that a database says of its tables, but for the table of the revision itself."""
    seen = inspect(connection)
    return {
        name: {
            "columns": [{**c, "type": repr(c["type"])} for c in seen.get_columns(name)],
            "primary key": seen.get_pk_constraint(name),
            "foreign keys": seen.get_foreign_keys(name),
            "unique": sorted(seen.get_unique_constraints(name), key=lambda u: str(u["name"])),
            "indexes": sorted(_indexes(connection, name)),
        }
        for name in seen.get_table_names()
        if name != "alembic_version"
    }


def _indexes(connection: Connection, table: str) -> list[tuple[str, str]]:
    """Name and definition, with the condition of those that are partial."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = :table",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :table",
    }
    found = connection.execute(text(query[connection.dialect.name]), {"table": table})
    return [(name, " ".join(str(definition).split())) for name, definition in found]


def applied(run: Run, url: str, work: Callable[[Connection], object]) -> dict[str, Any]:
    """What a database says after this."""
    run(url, work)
    seen: dict[str, Any] = {}
    run(url, lambda connection: seen.update(described(connection)))
    return seen


def compare(connection: Connection) -> None:
    assert compare_metadata(MigrationContext.configure(connection), metadata) == []


class TestTables:
    """The schema equals all migrations applied."""

    def test_on_sqlite(self, tmp_path: Path) -> None:
        migrated, made = (f"sqlite:///{tmp_path}/{name}.db" for name in ("migrated", "made"))
        found = applied(on_sqlite, migrated, HISTORY.upgrade)
        assert found == applied(on_sqlite, made, metadata.create_all)
        assert len(found) == len(metadata.tables)
        on_sqlite(migrated, compare)

    def test_on_postgresql(self, postgresql: Postgresql) -> None:
        with postgresql.database(empty=True) as migrated, postgresql.database(empty=True) as made:
            found = applied(on_postgresql, migrated, HISTORY.upgrade)
            assert found == applied(on_postgresql, made, metadata.create_all)
            assert len(found) == len(metadata.tables)
            on_postgresql(migrated, compare)


class TestFiles:
    """SQLite: whoever opens a file upgrades it."""

    async def test_an_older_file_is_upgraded_with_all_that_is_in_it(self, path: Path) -> None:
        store = SqliteStore(path)
        await store.start()
        kept = (await store.accept(new())).id
        await store.close()
        newer = SqlStore(SqliteDatabase(path, history=NEXT))
        await newer.start()
        assert [delivery.id for delivery in await newer.search(Search())] == [kept]
        await newer.accept(new())
        await newer.close()
        with pytest.raises(SettingsError, match=rf"newer mediator \(schema {LATER}\)"):
            SqliteDatabase(path).open()

    def test_a_migration_is_told(self, path: Path) -> None:
        settings = Store(url=f"sqlite:///{path}")
        assert migrate(settings, only_look=True).before is None
        assert not path.exists(), "looking changes nothing"
        assert migrate(settings, only_look=False).before is None
        for only_look in (True, False):
            found = migrate(settings, only_look=only_look, history=NEXT)
            assert (found.before, found.newest) == (NOW, LATER)
        with pytest.raises(SettingsError, match="newer mediator"):
            migrate(settings, only_look=True)


class TestServers:
    """PostgreSQL: who migrates it is told to, and the others wait for that."""

    def test_a_migration_is_made_once_and_told(self, postgresql: Postgresql) -> None:
        with postgresql.database(empty=True) as url:
            settings = Store(url=url)
            assert migrate(settings, only_look=True).before is None
            assert migrate(settings, only_look=True).before is None, "looking changes nothing"
            assert migrate(settings, only_look=False).before is None
            found = migrate(settings, only_look=False)
            assert found.before == found.newest == NOW
            assert migrate(settings, only_look=False, history=NEXT).before == NOW
            assert migrate(settings, only_look=True, history=NEXT).before == LATER

    @pytest.mark.parametrize("empty", [True, False], ids=["empty", "older"])
    def test_migrations_at_once_do_no_harm(self, postgresql: Postgresql, *, empty: bool) -> None:
        with postgresql.database(empty=empty) as url, ThreadPoolExecutor(4) as threads:
            settings = Store(url=url)
            found = list(
                threads.map(lambda _: migrate(settings, only_look=False, history=NEXT), range(4))
            )
            assert {f.newest for f in found} == {LATER}
            assert ask(url, "SELECT version_num FROM alembic_version") == [(LATER,)]

    @pytest.mark.parametrize(
        ("revision", "sentence"),
        [
            (None, "has no schema yet.*run `mediator migrate`"),
            (NOW, f"has the older schema {NOW}.*needs {LATER}; run `mediator migrate`"),
            ("9999", r"newer mediator \(schema 9999\)"),
        ],
        ids=["none", "older", "newer"],
    )
    def test_another_schema_is_refused(
        self, postgresql: Postgresql, revision: str | None, sentence: str
    ) -> None:
        with postgresql.database(empty=revision is None) as url:
            if revision is not None:
                ask(url, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608
            with pytest.raises(SettingsError, match=sentence):
                PostgresDatabase(Server(url=url), history=NEXT).open()

    def test_a_newer_schema_is_not_migrated(self, database: str) -> None:
        migrate(Store(url=database), only_look=False, history=NEXT)
        for only_look in (True, False):
            with pytest.raises(SettingsError, match="newer mediator"):
                migrate(Store(url=database), only_look=only_look)
