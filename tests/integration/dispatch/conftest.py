"""A dispatcher that is stopped after the test, leaving no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mediator.storage.store import SqliteStore
from tests.integration.dispatch.support import FaultyStore, House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    before = asyncio.all_tasks()
    store = SqliteStore(tmp_path / "mediator.db")
    await store.start()
    house = House(FaultyStore(store))
    yield house
    house.store.away.clear()
    await house.dispatcher.stop(drain=timedelta(0))
    if house.task is not None:
        await asyncio.wait([house.task])
    await store.close()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
