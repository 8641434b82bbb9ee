"""The environment cache: a directory for each environment, whole or not there at all.

KEY/            an environment; the time of KEY/mediator.json says when it was last needed
KEY.lock        held while KEY is built or removed, also by a uv that has lost its mediator
.KEY.*          being built, or being removed
cache/          uv's
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from mediator.catalog.environments.uv import BuildFailed

_KEY = re.compile(r"[0-9a-f]{16}")
_CARD = "mediator.json"
_PAUSE = 0.1
"""Seconds between two looks at a lock that somebody else holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentCache:
    """Environments on disk, shared by mediators that are given the same directory."""

    directory: Path

    def python(self, key: str) -> Path:
        """The interpreter in the environment, there or not."""
        return self.directory / key / "bin" / "python"

    def has(self, key: str) -> bool:
        """Whether it is there, and the Python it was made with too."""
        return (self.directory / key / _CARD).is_file() and self.python(key).exists()

    def touch(self, key: str) -> None:
        """Remember that it is needed. On a read-only disk nothing is removed either."""
        try:
            os.utime(self.directory / key / _CARD)
        except OSError:
            return

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[int]:
        """Hold the key's lock; its descriptor. Raises `BuildFailed` when nothing can be written."""
        while True:
            with self._lock(key) as descriptor:
                if descriptor is not None:
                    yield descriptor
                    return
            await asyncio.sleep(_PAUSE)

    def begin(self, key: str) -> Path:
        """Where to build; what earlier builds left is removed. Hold the lock."""
        self.clean_up(key)
        return Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.directory)) / "environment"

    def put(self, key: str, built: Path, card: dict[str, Any]) -> None:
        """Make what was built the environment. Hold the lock."""
        (built / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        os.sync()  # a power cut must not leave the name and lose what is in the files
        if (self.directory / key).exists():
            self._set_aside(key)
        built.rename(self.directory / key)

    def evict(self, *, keep: Collection[str], unused_for: timedelta) -> list[str]:
        """Remove environments that nobody has needed for so long; their keys."""
        oldest = time.time() - unused_for.total_seconds()
        old = (key for key in self._keys() if key not in keep and self._last_used(key) <= oldest)
        return [key for key in old if self._evicted(key)]

    def _keys(self) -> set[str]:
        """Of environments, and of what is left of builds that were cut off."""
        if not self.directory.is_dir():
            return set()
        names = (path.name.removeprefix(".")[:16] for path in self.directory.iterdir())
        return {name for name in names if _KEY.fullmatch(name)}

    def _last_used(self, key: str) -> float:
        for path in (self.directory / key / _CARD, self.directory / f"{key}.lock"):
            if path.exists():
                return path.stat().st_mtime
        return 0.0

    def _evicted(self, key: str) -> bool:
        with self._lock(key) as descriptor:
            if descriptor is None:
                return False
            there = (self.directory / key).exists()
            if there:
                self._set_aside(key)
            self.clean_up(key)
            (self.directory / f"{key}.lock").unlink(missing_ok=True)
            return there

    def _set_aside(self, key: str) -> None:
        """By a rename first, so that half an environment never has the name of a whole one."""
        gone = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.directory))
        (self.directory / key).rename(gone / "environment")

    def clean_up(self, key: str) -> None:
        """Remove what builds have left. Hold the lock."""
        for left in self.directory.glob(f".{key}.*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def _lock(self, key: str) -> Iterator[int | None]:
        """The descriptor, or None when somebody else holds it."""
        path = self.directory / f"{key}.lock"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            why = f"{self.directory} cannot be written ({error.strerror})"
            raise BuildFailed(why) from error
        try:
            yield descriptor if _acquired(descriptor, path) else None
        finally:
            os.close(descriptor)


def _acquired(descriptor: int, path: Path) -> bool:
    """Whether the lock is ours now, and its file is still the one that others will open."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
