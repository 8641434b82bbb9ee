"""Every store that there is; the contract holds on each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediator.storage.port import DeliveryStore
from mediator.storage.store import SqliteStore
from tests.integration.storage.support import Desk


@pytest.fixture(params=["sqlite"])
async def store(tmp_path: Path) -> AsyncIterator[DeliveryStore]:
    sqlite = SqliteStore(tmp_path / "mediator.db")
    await sqlite.start()
    yield sqlite
    await sqlite.close()


@pytest.fixture
def desk(store: DeliveryStore) -> Desk:
    return Desk(store)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test keeps a SQLite store of its own."""
    return tmp_path / "state" / "mediator.db"
