"""The SQLite file: durable settings, one holder, one program, one schema."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from mediator.errors import SettingsError, StoreUnavailable
from mediator.model.delivery import State
from mediator.storage.interface import RetentionRule, Search
from mediator.storage.schema import SchemaHistory
from mediator.storage.sqlite import APPLICATION_ID, SqliteDatabase, SqliteStore
from mediator.storage.store import SqlStore
from tests.support.engines import on_commits, on_connections
from tests.support.store import Desk, new

PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 2000}


def pragmas(connection: Connection) -> dict[str, object]:
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in PRAGMAS}


def opened(path: Path) -> SqliteDatabase:
    database = SqliteDatabase(path)
    database.open()
    return database


async def test_every_connection_is_durable(path: Path) -> None:
    database = opened(path)
    seen: list[dict[str, object]] = []
    together = threading.Barrier(4)

    def look(connection: Connection) -> dict[str, object]:
        together.wait(60)  # so that each read has a connection of its own
        return pragmas(connection)

    for _ in range(2):
        database.write(lambda connection: seen.append(pragmas(connection)))
        with pytest.raises(StoreUnavailable):  # a connection that failed is not used again
            database.write(lambda connection: connection.exec_driver_sql("nonsense"))
    seen += await asyncio.gather(*(asyncio.to_thread(database.read, look) for _ in range(4)))
    database.close()
    assert seen == [PRAGMAS] * 6


def test_a_reader_cannot_write(path: Path) -> None:
    database = opened(path)
    with pytest.raises(StoreUnavailable, match="readonly"):
        database.read(lambda c: c.exec_driver_sql("DELETE FROM deliveries"))
    database.close()


def test_a_transaction_holds_the_write_lock_from_its_beginning(path: Path) -> None:
    database = opened(path)
    other = sqlite3.connect(path, isolation_level=None, timeout=0)

    def look(_: Connection) -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    database.write(look)
    other.close()
    database.close()


async def test_many_hand_overs_share_few_commits(path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    commits: list[Connection] = []
    with on_commits(commits.append):
        await asyncio.gather(*(store.accept(new()) for _ in range(300)))
    assert 0 < len(commits) <= 30
    assert len(await store.search(Search(limit=500))) == 300
    await store.close()


async def test_what_was_kept_is_there_after_a_restart(path: Path) -> None:
    for expected in range(3):
        store = SqliteStore(path)
        await store.start()
        assert len(await store.search(Search())) == expected
        await store.accept(new())
        await store.close()


class TestHolding:
    async def test_a_second_mediator_is_refused(self, path: Path) -> None:
        store = SqliteStore(path)
        await store.start()
        with pytest.raises(SettingsError, match="another mediator is using"):
            await SqliteStore(path).start()
        await store.close()

    async def test_another_name_of_the_file_does_not_help(self, path: Path) -> None:
        store = SqliteStore(path)
        await store.start()
        link = path.with_name("link.db")
        link.symlink_to(path)
        with pytest.raises(SettingsError, match="another mediator is using"):
            await SqliteStore(link).start()
        await store.close()

    async def test_whoever_was_refused_can_take_over_later(self, path: Path) -> None:
        store, second = SqliteStore(path), SqliteStore(path)
        await store.start()
        with pytest.raises(SettingsError):
            await second.start()
        await store.close()
        third = SqliteStore(path)
        await third.start()
        await third.close()

    async def test_a_store_that_never_started_can_be_closed(self, path: Path) -> None:
        await SqliteStore(path).close()


def written(path: Path, *statements: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


class TestRefusing:
    def test_a_file_of_another_kind(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"PK\x03\x04 this is no database" * 100)
        with pytest.raises(SettingsError, match=f"cannot open {path}: file is not a database"):
            SqliteDatabase(path).open()
        assert path.read_bytes().startswith(b"PK"), "it is left as it is"

    def test_a_database_of_another_program(self, path: Path) -> None:
        written(path, "CREATE TABLE customers (name TEXT)")
        with pytest.raises(SettingsError, match="a database of another program"):
            SqliteDatabase(path).open()

    def test_a_database_that_says_it_is_another_programs(self, path: Path) -> None:
        written(path, "PRAGMA application_id = 42")
        with pytest.raises(SettingsError, match="a database of another program"):
            SqliteDatabase(path).open()

    def test_a_newer_schema(self, path: Path) -> None:
        opened(path).close()
        written(path, "UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(SettingsError, match=r"newer mediator \(schema 9999\)"):
            SqliteDatabase(path).open()

    def test_a_damaged_file(self, path: Path) -> None:
        opened(path).close()
        content = bytearray(path.read_bytes())
        content[100:4096] = b"\xff" * 3996
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=r"cannot open .*malformed"):
            SqliteDatabase(path).open()

    def test_a_directory_in_its_place(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(SettingsError, match="cannot open"):
            SqliteDatabase(path).open()

    def test_a_parent_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SettingsError, match="cannot open"):
            SqliteDatabase(tmp_path / "file" / "mediator.db").open()

    def test_a_file_system_without_a_write_ahead_log(self, path: Path) -> None:
        def without(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA journal_mode=DELETE").close()

        with on_connections(without), pytest.raises(SettingsError, match="network file"):
            SqliteDatabase(path).open()

    def test_the_lock_is_let_go_of(self, path: Path) -> None:
        written(path, "CREATE TABLE customers (name TEXT)")
        with pytest.raises(SettingsError):
            SqliteDatabase(path).open()
        path.unlink()
        opened(path).close()


class Broken(SchemaHistory):
    """Fails when all of it is done."""

    def upgrade(self, connection: Connection) -> None:
        super().upgrade(connection)
        raise OSError("no space left")


def test_an_upgrade_that_fails_leaves_nothing_behind(path: Path) -> None:
    with pytest.raises(SettingsError, match="no space left"):
        SqliteDatabase(path, history=Broken()).open()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    connection.close()


async def test_the_log_stays_bounded_while_somebody_always_reads(path: Path) -> None:
    bound = 2**20
    store = SqliteStore(path, longest_log=bound)
    await store.start()
    done = threading.Event()
    reading = asyncio.create_task(asyncio.to_thread(_read_without_a_gap, path, done))
    log = path.with_name(path.name + "-wal")
    largest = 0
    for n in range(100):
        await store.accept(new(body=b"%d" % n * 50_000))
        largest = max(largest, log.stat().st_size)
    done.set()
    await reading
    await store.close()
    assert largest < 3 * bound


def _read_without_a_gap(path: Path, done: threading.Event) -> None:
    """Each read begins before the one before it ends."""
    one, other = (
        sqlite3.connect(path, isolation_level=None, check_same_thread=False) for _ in range(2)
    )
    while not done.is_set():
        one.execute("BEGIN")
        one.execute("SELECT count(*) FROM deliveries").fetchone()
        if other.in_transaction:
            other.execute("ROLLBACK")
        one, other = other, one
    one.close()
    other.close()


async def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    await store.close()
    for asked in (store.accept(new()), store.search(Search()), store.find("x"), store.probe()):
        with pytest.raises(StoreUnavailable, match="closed"):
            await asked


async def test_reads_go_on_beside_a_long_write(path: Path) -> None:
    database = SqliteDatabase(path)
    store = SqlStore(database)
    await store.start()
    desk = Desk(store)
    delivery_id = await desk.accept()
    entered, go = threading.Event(), threading.Event()

    def long(_: Connection) -> None:
        entered.set()
        go.wait(60)

    writing = asyncio.create_task(asyncio.to_thread(database.write, long))
    await asyncio.to_thread(entered.wait)
    assert (await store.find(delivery_id)).id == delivery_id
    go.set()
    await writing
    await store.close()


def pages(path: Path) -> tuple[int, int]:
    """All pages of the file, and the free ones among them."""
    connection = sqlite3.connect(path)
    (total,), (free,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count")
    )
    connection.close()
    return total, free


async def emptied(store: SqliteStore) -> None:
    """Fill it with large deliveries, and remove them."""
    desk = Desk(store)
    for _ in range(20):
        await desk.accept(body=bytes(200_000), deduplicate_since=None)
        await desk.run()
    later = desk.now + timedelta(days=1)
    kept = RetentionRule(state=State.SUCCEEDED, since=later, most=None, always_since=later)
    while await store.remove(kept):
        pass


async def test_the_file_is_shortened_after_removals(path: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    await emptied(store)
    before, _ = pages(path)
    while await store.vacuum_step():
        pass
    after, free = pages(path)
    await store.close()
    assert after < before / 10
    assert free * 10 <= after
    assert path.stat().st_size == after * 4096


async def test_a_file_that_cannot_be_shortened_is_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute("CREATE TABLE old (a)")
    connection.close()
    store = SqliteStore(path)
    await store.start()
    await emptied(store)
    assert not await store.vacuum_step()
    await store.close()
