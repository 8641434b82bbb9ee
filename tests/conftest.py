"""For every test: the folder is the marker, and no test leaves a task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import signals
from tests.support.postgresql import Postgresql, running

signals.restore()

_HERE = Path(__file__).parent
_FOLDERS = (
    *("unit", "integration", "acceptance", "faults", "deploy", "helm", "image", "cluster"),
    *("systemd", "compose", "fresh", "benchmarks"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the folder it is in."""
    for item in items:
        folder = item.path.relative_to(_HERE).parts[0]
        if folder in _FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves an asyncio task running."""
    before = asyncio.all_tasks()
    yield
    here = asyncio.current_task()  # the one that runs these lines
    left = {task for task in asyncio.all_tasks() - before if task is not here and not task.done()}
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL server of this process."""
    with running() as server:
        yield server


@pytest.fixture
def database(postgresql: Postgresql) -> Iterator[str]:
    """The URL of a PostgreSQL database with the mediator's schema, and nothing in it."""
    with postgresql.database() as url:
        yield url


@pytest.fixture
def samples() -> Path:
    """Tickets shaped like SecureChange's."""
    return _HERE / "samples"
