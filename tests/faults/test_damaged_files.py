"""A disk that changes what was committed, which nobody can make good: it is told, or survived."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import log_tail
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK

_PAGE = 4096
_TICKETS = 16


@pytest.fixture
def mediator(tmp_path: Path) -> Iterator[Mediator]:
    mediator = Mediator(tmp_path)
    mediator.script("ok.sh", OK)
    with mediator:
        yield mediator


def database(mediator: Mediator) -> Path:
    return mediator.home / "state" / "mediator.db"


async def handed_over(mediator: Mediator) -> list[str]:
    """Deliveries that have ended, in the order of arrival."""
    async with Client(mediator.url) as client:
        ids = []
        for n in range(_TICKETS):
            answer = await client.hand_over(Handover(script="ok", arguments=[str(n)]))
            ids.append(answer.delivery)
            await client.until(answer.delivery, "succeeded")
        return ids


def spoil(path: Path, start: int, size: int) -> None:
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"Z" * size
    path.write_bytes(content)


async def test_a_commit_that_was_damaged_in_the_log_takes_the_later_ones_with_it(
    mediator: Mediator,
) -> None:
    """SQLite takes it for a torn end, so the mediator does too; docs/explanation/faults.md."""
    ids = await handed_over(mediator)
    mediator.kill()
    log = database(mediator).with_name("mediator.db-wal")
    frames = log_tail.frames(log.read_bytes())
    middle = frames[len(frames) // 2]
    spoil(log, middle.start + middle.size // 2, 100)
    mediator.start()
    async with Client(mediator.url) as client:
        there = [(await client.get(f"/v1/deliveries/{one}")).status == 200 for one in ids]
        assert there == sorted(there, reverse=True), "the earlier ones are there, the later not"
        assert any(there)
        assert not all(there)
        again = await client.hand_over(Handover(script="ok", arguments=["again"]))
        await client.until(again.delivery, "succeeded")
    mediator.terminate()
    connection = sqlite3.connect(database(mediator))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@pytest.mark.parametrize(
    ("start", "size"), [(0, _PAGE), (_PAGE, 3 * _PAGE)], ids=["the first page", "the next pages"]
)
async def test_a_file_whose_beginning_is_damaged_is_refused_in_one_sentence(
    mediator: Mediator, start: int, size: int
) -> None:
    await handed_over(mediator)
    mediator.terminate()
    spoil(database(mediator), start, size)
    for _ in range(2):
        refused = mediator.refuse()
        assert refused.returncode == 78
        assert len(refused.stderr.splitlines()) == 1
        assert "mediator.db" in refused.stderr


async def test_what_a_damaged_page_stops_is_told_and_nothing_is_accepted(
    mediator: Mediator,
) -> None:
    await handed_over(mediator)
    mediator.terminate()
    whole = database(mediator).stat().st_size // _PAGE * _PAGE
    spoil(database(mediator), whole // 2, whole // 2)
    mediator.start()
    async with Client(mediator.url) as client:
        refused = await client.hand_over(Handover(script="ok"))
        assert refused.status == 503
        assert "malformed" in refused.detail
        assert (await client.get("/livez", token=None)).status == 200
