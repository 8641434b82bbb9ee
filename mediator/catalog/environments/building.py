"""Making one environment."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from mediator.catalog.environments.interpreters import Interpreters, Python
from mediator.catalog.environments.shelf import Shelf
from mediator.catalog.environments.uv import BuildFailed, Uv, without_credentials
from mediator.catalog.needs import Need


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a need comes down to on this machine."""

    python: Python
    """the interpreter, or the one that the environment is made with"""
    key: str = ""
    """of the environment; empty: none is needed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """Finds and builds environments; it remembers nothing of them but their interpreters."""

    uv: Uv
    shelf: Shelf
    interpreters: Interpreters = field(init=False)

    def __post_init__(self) -> None:
        """Set up what is built from the others."""
        object.__setattr__(self, "interpreters", Interpreters(self.uv))

    async def find(self, need: Need) -> Place:
        """Where what is needed is, or will be. Raises `BuildFailed` without a fitting Python."""
        python = await self.interpreters.find(need)
        return Place(python=python, key=self._key(need, python) if need.requirements else "")

    def interpreter(self, need: Need, place: Place) -> tuple[str, ...]:
        """What starts a script with this need; nothing: its first line does."""
        if place.key:
            return str(self.shelf.python(place.key)), *need.flags
        if place.python.asked == need.interpreter:
            return ()
        return place.python.path, *need.flags

    def has(self, place: Place) -> bool:
        """Whether it is there already, and the interpreter still."""
        there = Path(place.python.path).exists()
        return there and (not place.key or self.shelf.has(place.key))

    async def build(self, need: Need, place: Place) -> bool:
        """Build it, unless somebody else just has; whether it was built here.

        Raises `BuildFailed`. What was begun is removed, however this ends. What is there needs no
        lock, so it is of use where nothing can be written too.
        """
        if self.shelf.has(place.key):
            return False
        try:
            async with self.shelf.locked(place.key) as lock:
                if self.shelf.has(place.key):
                    return False
                await self._make(need, place, lock)
                return True
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise BuildFailed(f"{error.strerror or error}{where}") from error

    async def _make(self, need: Need, place: Place, lock: int) -> None:
        directory = await asyncio.to_thread(self.shelf.begin, place.key)
        try:
            await self._install(need, place, directory, lock)
            card = self._card(need, place)
            await asyncio.to_thread(self.shelf.put, place.key, directory, card)
        finally:
            await asyncio.to_thread(self.shelf.sweep, place.key)

    async def _install(self, need: Need, place: Place, directory: Path, lock: int) -> None:
        """Have uv keep the lock too: should it outlive this process, nobody builds beside it."""
        await self.uv.run(
            *("venv", "--no-project", "--relocatable", f"--python={place.python.path}"),
            str(directory),
            keep_open=[lock],
        )
        await self.uv.run(
            *("pip", "install", "--compile-bytecode", f"--python={directory / 'bin' / 'python'}"),
            *self.uv.sources,
            *need.requirements,
            keep_open=[lock],
        )

    def _key(self, need: Need, python: Python) -> str:
        """The same for the same packages from the same places for the same Python."""
        parts = [need.key_parts, python.path, python.version, self.uv.identity]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _card(self, need: Need, place: Place) -> dict[str, object]:
        """For people who look into the directory."""
        return {
            "requirements": need.requirements,
            "requires-python": need.requires_python,
            "python": place.python.path,
            "version": place.python.version,
            "sources": [without_credentials(option) for option in self.uv.sources],
        }


def builder(uv: Uv) -> Builder:
    """The usual one."""
    return Builder(uv=uv, shelf=Shelf(directory=uv.settings.directory))
