"""A mediator that many tests share: they only look, or hand over tickets of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mediator import Client, Mediator
from tests.support.scripts import OK, TELL, interactive

LIMIT = 200_000
"""Bytes of the largest ticket it takes."""


@contextmanager
def running(home: Path) -> Iterator[Mediator]:
    """A running mediator with a trigger, an answering script, and two that cannot run."""
    mediator = Mediator(home, settings={"http": {"body_limit": LIMIT}})
    mediator.script("notify.py", TELL)
    mediator.script("ok.sh", OK)
    mediator.script("tell.py", interactive(TELL, timeout='"60s"'))
    mediator.script("asleep.py", TELL, mode=0o644)
    mediator.script("broken.py", "#!/no/such/interpreter\n")
    (mediator.home / "outside.py").write_text(TELL)
    (mediator.home / "outside.py").chmod(0o755)
    with mediator:
        yield mediator


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """For the tests of many files: what others handed over is there too, and may still run."""
    with running(tmp_path_factory.mktemp("shared")) as mediator:
        yield mediator


@pytest.fixture
async def client(shared: Mediator) -> AsyncIterator[Client]:
    """Talks to the shared mediator."""
    async with Client(shared.url) as client:
        yield client
