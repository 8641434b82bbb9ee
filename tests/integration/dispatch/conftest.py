"""A dispatcher that is stopped after the test, leaving no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from mediator.metrics import Metrics
from mediator.storage.memory import MemoryStore
from tests.integration.dispatch.support import House
from tests.support.store import FaultyStore


@pytest.fixture
async def house() -> AsyncIterator[House]:
    before = asyncio.all_tasks()
    metrics = Metrics()
    store = MemoryStore(metrics=metrics)
    await store.start()
    house = House(FaultyStore(store, metrics), metrics=metrics)
    yield house
    house.store.away.clear()
    await house.dispatcher.stop(drain=timedelta(0))
    if house.task is not None:
        await asyncio.wait([house.task])
    await store.close()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
