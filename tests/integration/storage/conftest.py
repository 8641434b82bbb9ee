"""Every store that there is; the contract holds on each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediator.storage.interface import DeliveryStore
from mediator.storage.memory import MemoryStore
from mediator.storage.postgres import PostgresStore, Server
from mediator.storage.sqlite import SqliteStore
from tests.support.store import Desk


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DeliveryStore]:
    made: DeliveryStore
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = SqliteStore(tmp_path / "mediator.db")
    else:
        made = PostgresStore(Server(url=request.getfixturevalue("database")))
    await made.start()
    if not made.alone:
        await made.notices.wait_for_work(60)  # once it listens, it has everybody look again
    yield made
    await made.close()


@pytest.fixture
def desk(store: DeliveryStore) -> Desk:
    return Desk(store)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test keeps a SQLite store of its own."""
    return tmp_path / "state" / "mediator.db"
