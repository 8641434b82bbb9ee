"""A backup is one whole file, whatever happens to the store meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from pathlib import Path

import pytest

from mediator.storage.backup import BackupFailed, back_up
from mediator.storage.sqlite import SqliteStore
from tests.integration.storage.test_kill import PROGRAM, everything
from tests.support.store import Desk, new


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Where the backup goes, in a directory of its own."""
    (tmp_path / "backup").mkdir()
    return tmp_path / "backup" / "copy.db"


async def filled(path: Path) -> set[str]:
    store = SqliteStore(path)
    await store.start()
    desk = Desk(store)
    ids = {await desk.accept() for _ in range(3)}
    await store.close()
    return ids


async def held(path: Path) -> set[str]:
    """What a mediator finds in it."""
    store = SqliteStore(path)
    await store.start()
    try:
        return await everything(store)
    finally:
        await store.close()


def backed_up_meanwhile(path: Path, copy: Path) -> tuple[set[str], set[str]]:
    """What another process, as the daemon is, accepted before a backup, and while it was made."""
    with subprocess.Popen([*PROGRAM, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        before = {process.stdout.readline().decode().strip() for _ in range(500)}
        assert back_up(path, copy) == copy.stat().st_size
        process.kill()
        during = {line.decode().strip() for line in process.stdout if line.endswith(b"\n")}
    return before, during


async def test_it_holds_all_that_was_answered_while_others_are_handed_over(
    path: Path, copy: Path
) -> None:
    before, during = await asyncio.to_thread(backed_up_meanwhile, path, copy)
    assert before <= await held(copy)
    assert before | during <= await held(path), "and the store has not suffered"


async def test_what_is_in_the_log_only_is_in_the_backup(path: Path, copy: Path) -> None:
    store = SqliteStore(path)
    await store.start()
    kept = (await store.accept(new())).id
    assert (path.parent / "mediator.db-wal").stat().st_size
    back_up(path, copy)
    await store.close()
    assert await held(copy) == {kept}


async def test_it_is_one_file_that_only_its_owner_may_read(path: Path, copy: Path) -> None:
    ids = await filled(path)
    copy.write_text("yesterday's")
    copy.chmod(0o644)
    back_up(path, copy)
    assert [found.name for found in copy.parent.iterdir()] == ["copy.db"]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert await held(copy) == ids


async def test_a_damaged_store_is_no_backup(path: Path, copy: Path) -> None:
    await filled(path)
    copy.write_text("yesterday's")
    connection = sqlite3.connect(path)
    (root,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'deliveries'"
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    with pytest.raises(BackupFailed, match=r"damaged|malformed"):
        back_up(path, copy)
    assert copy.read_text() == "yesterday's"
    assert [found.name for found in copy.parent.iterdir()] == ["copy.db"], "nothing is left over"


@pytest.mark.parametrize("name", ["mediator.db", "mediator.db-wal", "mediator.db.lock"])
async def test_the_store_is_not_written_over(path: Path, name: str) -> None:
    ids = await filled(path)
    with pytest.raises(BackupFailed, match="belongs to the store itself"):
        back_up(path, path.parent / ".." / path.parent.name / name)
    assert await held(path) == ids


async def test_what_cannot_be_is_said(path: Path, copy: Path) -> None:
    with pytest.raises(BackupFailed, match=r"there is no store at .*store\.url"):
        back_up(path, copy)
    await filled(path)
    with pytest.raises(BackupFailed, match="is not a file"):
        back_up(path, copy.parent)
    with pytest.raises(BackupFailed, match="No such file or directory"):
        back_up(path, copy.parent / "nowhere" / "copy.db")
    other = path.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE a (b)")
    connection.close()
    with pytest.raises(BackupFailed, match="not a mediator's store"):
        back_up(other, copy)
    assert sorted(found.name for found in copy.parent.iterdir()) == []
