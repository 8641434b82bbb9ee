"""Environments on disk: whole or not there, locked while they change, removed when unused."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mediator.catalog.environments.cache import Shelf
from mediator.catalog.environments.uv import BuildFailed

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
WEEK = timedelta(days=7)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(directory=tmp_path / "environments")


async def put(shelf: Shelf, key: str, *, age: timedelta = timedelta(0), text: str = "") -> None:
    async with shelf.locked(key):
        built = shelf.begin(key)
        (built / "bin").mkdir(parents=True)
        (built / "bin" / "python").write_text(text)
        shelf.put(key, built, {"requirements": []})
        shelf.sweep(key)
    then = time.time() - age.total_seconds()
    os.utime(shelf.directory / key / "mediator.json", (then, then))


def left(shelf: Shelf) -> list[str]:
    return sorted(path.name for path in shelf.directory.iterdir())


async def test_what_is_put_there_is_there_and_nothing_besides(shelf: Shelf) -> None:
    assert not shelf.has(KEY)
    await put(shelf, KEY)
    assert shelf.has(KEY)
    assert left(shelf) == [KEY, f"{KEY}.lock"]


async def test_one_that_lacks_its_python_is_not_there_and_is_replaced(shelf: Shelf) -> None:
    await put(shelf, KEY)
    shelf.python(KEY).unlink()
    assert not shelf.has(KEY)
    await put(shelf, KEY, text="again")
    assert shelf.python(KEY).read_text() == "again"
    assert left(shelf) == [KEY, f"{KEY}.lock"]


async def test_the_unused_are_removed_and_the_needed_are_kept(shelf: Shelf) -> None:
    await put(shelf, KEY, age=2 * WEEK)
    await put(shelf, OTHER, age=2 * WEEK)
    await put(shelf, "a" * 16)
    assert shelf.remove(keep={KEY}, unused_for=WEEK) == [OTHER]
    assert left(shelf) == [KEY, f"{KEY}.lock", "a" * 16, f"{'a' * 16}.lock"]


async def test_one_that_was_used_lately_is_not_unused(shelf: Shelf) -> None:
    await put(shelf, KEY, age=2 * WEEK)
    shelf.used(KEY)
    assert shelf.remove(keep=(), unused_for=WEEK) == []


async def test_what_a_crash_left_is_removed(shelf: Shelf) -> None:
    await put(shelf, KEY)
    (shelf.begin(OTHER)).mkdir()
    (shelf.directory / "cache").mkdir()
    assert shelf.remove(keep={KEY}, unused_for=timedelta(0)) == []
    assert left(shelf) == [KEY, f"{KEY}.lock", "cache"]


async def test_what_somebody_builds_is_not_removed(shelf: Shelf) -> None:
    async with shelf.locked(KEY):
        (shelf.begin(KEY)).mkdir()
        assert shelf.remove(keep=(), unused_for=timedelta(0)) == []
        assert len(left(shelf)) == 2


async def test_a_lock_is_waited_for(shelf: Shelf) -> None:
    order: list[str] = []

    async def second() -> None:
        async with shelf.locked(KEY):
            order.append("second")

    async with shelf.locked(KEY):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_a_lock_whose_file_was_removed_is_no_lock(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shelf.directory / f"{KEY}.lock"
    real = os.open
    removed: list[int] = []

    def opened_too_early(name: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(name, flags, mode)
        if not removed:
            removed.append(descriptor)
            path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", opened_too_early)
    async with shelf.locked(KEY) as descriptor:
        assert os.fstat(descriptor).st_ino == path.stat().st_ino


async def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shelf = Shelf(directory=tmp_path / "file" / "environments")
    with pytest.raises(BuildFailed, match=r"cannot be written \(Not a directory\)"):
        async with shelf.locked(KEY):
            pass
    assert shelf.remove(keep=(), unused_for=WEEK) == []
    shelf.used(KEY)
