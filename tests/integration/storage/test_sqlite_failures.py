"""A database that cannot be used: everyone hears it, nothing is stored, and it mends itself."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mediator.errors import StoreUnavailable
from mediator.storage.interface import Search
from mediator.storage.sqlite import SqliteStore
from tests.support.engines import on_connections
from tests.support.store import Desk, new


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, lock_wait=0.05)
    await store.start()
    yield store
    await store.close()


@contextmanager
def locked(path: Path) -> Iterator[str]:
    """Another process writes, and takes its time."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield "database is locked"
    other.close()


@contextmanager
def full(_: Path) -> Iterator[str]:
    """No page can be added."""
    with on_connections(lambda c: c.execute("PRAGMA max_page_count = 1").close()):
        yield "database or disk is full"


@contextmanager
def no_write(path: Path) -> Iterator[str]:
    """The kernel refuses to let files grow, as on a broken disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield "disk"  # "disk I/O error", or "database or disk is full"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(_: Path) -> Iterator[str]:
    """What SQLite says of a file system that went read-only."""
    with on_connections(lambda c: c.execute("PRAGMA query_only = 1").close()):
        yield "readonly"


@contextmanager
def moved_away(path: Path) -> Iterator[str]:
    """SQLite itself would go on writing into the file without a name."""
    path.rename(path.with_name("elsewhere"))
    yield "cannot be found"
    path.with_name("elsewhere").rename(path)


@contextmanager
def replaced(path: Path) -> Iterator[str]:
    """Somebody restored a backup while the mediator ran."""
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(path.with_name("elsewhere").read_bytes())
    yield "not the file that was opened"
    path.with_name("elsewhere").rename(path)


@contextmanager
def log_deleted(path: Path) -> Iterator[str]:
    """The write-ahead log is part of the database."""
    log = path.with_name(path.name + "-wal")
    log.rename(path.with_name("elsewhere"))
    yield "cannot be found"
    path.with_name("elsewhere").rename(log)


FAULTS = [locked, full, no_write, read_only, moved_away, replaced, log_deleted]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_everyone_hears_it_nothing_is_stored_and_it_mends_itself(
    store: SqliteStore, path: Path, fault: object
) -> None:
    desk = Desk(store)
    before = [await desk.accept() for _ in range(3)]
    (claim, *_) = await desk.claim(slots=1)
    with fault(path) as sentence:  # type: ignore[operator]
        refused = await asyncio.gather(
            *(store.accept(new(body=b"x" * 100_000)) for _ in range(20)),
            desk.finish(claim),
            desk.claim(),
            store.probe(),
            return_exceptions=True,
        )
        assert [type(answer) for answer in refused] == [StoreUnavailable] * len(refused)
        assert {sentence in str(answer) for answer in refused} == {True}, refused[0]
        assert all("nothing was stored" in str(answer) for answer in refused)
    await store.probe()
    after = await desk.accept()
    found = await store.search(Search(limit=500))
    assert [delivery.id for delivery in found] == [after, *reversed(before)]
    assert await desk.finish(claim) is not None
    assert await desk.claimed() == [*before[1:], after]


async def test_what_can_be_read_is_read_while_nothing_can_be_written(
    store: SqliteStore, path: Path
) -> None:
    delivery_id = await Desk(store).accept()
    with locked(path):
        assert (await store.find(delivery_id)).id == delivery_id


async def test_a_damaged_page_fails_the_read_that_meets_it(store: SqliteStore) -> None:
    desk = Desk(store)
    delivery_id = await desk.accept()

    def damage(connection: sqlite3.Connection) -> None:
        connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)

    with on_connections(damage), pytest.raises(StoreUnavailable):
        await store.find(delivery_id)
    assert (await store.find(delivery_id)).id == delivery_id, "a connection that failed is not kept"
