"""What is torn off SQLite's log is what was not committed, and nothing else."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.faults import log_tail


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file with ten commits in its log, as a process that was killed leaves it."""
    path, copy = tmp_path / "it.db", tmp_path / "killed.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (n INTEGER)")
    for n in range(10):
        connection.execute("INSERT INTO t VALUES (?)", (n,))
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    connection.close()
    return copy


def log_of(database: Path) -> Path:
    return database.with_name(database.name + "-wal")


def rows(database: Path) -> list[int]:
    connection = sqlite3.connect(database)
    found = [row[0] for row in connection.execute("SELECT n FROM t ORDER BY n")]
    connection.close()
    return found


def test_every_page_of_the_log_is_found(database: Path) -> None:
    log = log_of(database).read_bytes()
    assert log_tail.end_of_commits(log) == len(log)
    assert sum(frame.commits for frame in log_tail.frames(log)) >= 10


def test_what_is_behind_the_last_commit_is_not(database: Path) -> None:
    log = log_of(database).read_bytes()
    last = log_tail.frames(log)[-1]
    assert log_tail.end_of_commits(log[:-1]) == last.start
    assert log_tail.end_of_commits(log + bytes(last.size)) == len(log)
    assert log_tail.end_of_commits(b"") == 0


@pytest.mark.parametrize("seed", range(12))
def test_no_commit_is_torn(database: Path, seed: int) -> None:
    log_tail.tear(log_of(database), random.Random(seed))  # noqa: S311 - no secret
    assert rows(database) == list(range(10))


def test_every_way_of_tearing_is_among_these_seeds(database: Path) -> None:
    ways = {log_tail.tear(log_of(database), random.Random(seed)) for seed in range(12)}  # noqa: S311
    assert ways == set(log_tail.TAILS)
