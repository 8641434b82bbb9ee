"""What was answered survives `kill -9`."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mediator.storage.interface import Search
from mediator.storage.sqlite import SqliteStore

ROUNDS = 3
PROGRAM = [sys.executable, "-m", "tests.integration.storage.accept_for_ever"]


def accepted_until_killed(path: Path, *, after: int) -> set[str]:
    """The ids that a process printed before it was killed, at least `after` many."""
    with subprocess.Popen([*PROGRAM, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = list(itertools.islice(process.stdout, after))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    lines = [*first, *rest]
    return {line.decode().strip() for line in lines if line.endswith(b"\n")}


async def everything(store: SqliteStore) -> set[str]:
    found: set[str] = set()
    after = None
    while page := await store.search(Search(limit=500, after=after)):
        found |= {delivery.id for delivery in page}
        after = page[-1].seq
    return found


@pytest.mark.parametrize("after", [1, 50, 700])
async def test_every_printed_id_is_in_the_file_after_a_kill(path: Path, after: int) -> None:
    printed: set[str] = set()
    for _ in range(ROUNDS):
        ids = await asyncio.to_thread(accepted_until_killed, path, after=after)
        assert len(ids) >= after
        printed |= ids
        store = SqliteStore(path)
        await store.start()
        assert printed <= await everything(store)
        await store.close()
