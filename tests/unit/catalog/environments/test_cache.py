"""Environments on disk: whole or not there, locked while they change, removed when unused."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mediator.catalog.environments.cache import EnvironmentCache
from mediator.catalog.environments.uv import BuildFailed

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
WEEK = timedelta(days=7)


@pytest.fixture
def cache(tmp_path: Path) -> EnvironmentCache:
    return EnvironmentCache(directory=tmp_path / "environments")


async def put(
    cache: EnvironmentCache, key: str, *, age: timedelta = timedelta(0), text: str = ""
) -> None:
    async with cache.locked(key):
        built = cache.begin(key)
        (built / "bin").mkdir(parents=True)
        (built / "bin" / "python").write_text(text)
        cache.put(key, built, {"requirements": []})
        cache.clean_up(key)
    then = time.time() - age.total_seconds()
    os.utime(cache.directory / key / "mediator.json", (then, then))


def left(cache: EnvironmentCache) -> list[str]:
    return sorted(path.name for path in cache.directory.iterdir())


async def test_what_is_put_there_is_there_and_nothing_besides(cache: EnvironmentCache) -> None:
    assert not cache.has(KEY)
    await put(cache, KEY)
    assert cache.has(KEY)
    assert left(cache) == [KEY, f"{KEY}.lock"]


async def test_one_that_lacks_its_python_is_not_there_and_is_replaced(
    cache: EnvironmentCache,
) -> None:
    await put(cache, KEY)
    cache.python(KEY).unlink()
    assert not cache.has(KEY)
    await put(cache, KEY, text="again")
    assert cache.python(KEY).read_text() == "again"
    assert left(cache) == [KEY, f"{KEY}.lock"]


async def test_the_unused_are_removed_and_the_needed_are_kept(cache: EnvironmentCache) -> None:
    await put(cache, KEY, age=2 * WEEK)
    await put(cache, OTHER, age=2 * WEEK)
    await put(cache, "a" * 16)
    assert cache.evict(keep={KEY}, unused_for=WEEK) == [OTHER]
    assert left(cache) == [KEY, f"{KEY}.lock", "a" * 16, f"{'a' * 16}.lock"]


async def test_one_that_was_used_lately_is_not_unused(cache: EnvironmentCache) -> None:
    await put(cache, KEY, age=2 * WEEK)
    cache.touch(KEY)
    assert cache.evict(keep=(), unused_for=WEEK) == []


async def test_what_a_crash_left_is_removed(cache: EnvironmentCache) -> None:
    await put(cache, KEY)
    (cache.begin(OTHER)).mkdir()
    (cache.directory / "cache").mkdir()
    assert cache.evict(keep={KEY}, unused_for=timedelta(0)) == []
    assert left(cache) == [KEY, f"{KEY}.lock", "cache"]


async def test_what_somebody_builds_is_not_removed(cache: EnvironmentCache) -> None:
    async with cache.locked(KEY):
        (cache.begin(KEY)).mkdir()
        assert cache.evict(keep=(), unused_for=timedelta(0)) == []
        assert len(left(cache)) == 2


async def test_a_lock_is_waited_for(cache: EnvironmentCache) -> None:
    order: list[str] = []

    async def second() -> None:
        async with cache.locked(KEY):
            order.append("second")

    async with cache.locked(KEY):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_a_lock_whose_file_was_removed_is_no_lock(
    cache: EnvironmentCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache.directory / f"{KEY}.lock"
    real = os.open
    removed: list[int] = []

    def opened_too_early(name: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(name, flags, mode)
        if not removed:
            removed.append(descriptor)
            path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", opened_too_early)
    async with cache.locked(KEY) as descriptor:
        assert os.fstat(descriptor).st_ino == path.stat().st_ino


async def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = EnvironmentCache(directory=tmp_path / "file" / "environments")
    with pytest.raises(BuildFailed, match=r"cannot be written \(Not a directory\)"):
        async with cache.locked(KEY):
            pass
    assert cache.evict(keep=(), unused_for=WEEK) == []
    cache.touch(KEY)
