"""A live catalog in a test: a scripts directory, and what the mediator makes of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from mediator.catalog.environments.builder import Builder, builder
from mediator.catalog.environments.uv import Uv
from mediator.catalog.live import LiveScripts, ScriptChanges
from mediator.catalog.loader import ScriptLoader, ScriptsDirectory
from mediator.catalog.script import Script
from mediator.metrics import Metrics
from mediator.settings.schema import Settings
from tests.support.conditions import eventually

SHELL = "#!/bin/sh\nexit 0\n"
PYTHON = "#!/usr/bin/env python3\nprint('here')\n"


def put(directory: Path, name: str, text: str = SHELL, *, mode: int = 0o755) -> Path:
    """A file, whole at once: written under another name and renamed."""
    fresh = directory / f".{name}.new"
    fresh.write_text(text)
    fresh.chmod(mode)
    return fresh.rename(directory / name)


def settings_in(home: Path, **sections: Any) -> Settings:
    """The scripts in `home`/scripts, environments in `home`/state, and no network."""
    tree: dict[str, Any] = {"scripts": {}, "environments": {"offline": True}}
    for section, values in sections.items():
        tree[section] = {**tree.get(section, {}), **values}
    return Settings.model_validate(tree).anchored(home)


def builder_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Builder:
    """The builder of its environments."""
    return builder(Uv(settings=settings.environments, environ=environ))


class Live:
    """A running catalog and what it has told."""

    def __init__(self, settings: Settings, loader: ScriptLoader | None = None) -> None:
        self.metrics = Metrics()
        self.scripts = LiveScripts(
            ScriptsDirectory(settings=settings),
            builder_of(settings),
            metrics=self.metrics,
            loader=loader,
        )
        self.told: list[ScriptChanges] = []
        self.scripts.listen(self.told.append)

    @property
    def names(self) -> list[str]:
        """The scripts there are."""
        return list(self.scripts.catalog.scripts)

    def script(self, name: str) -> Script | None:
        """The script as it is now."""
        return self.scripts.catalog.scripts.get(name)

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for something to become true of it."""

        async def look() -> object:
            return true()

        await eventually(look)

    async def until_ready(self, name: str, text: str = "") -> Script:
        """The script, once it is ready and, if given, holds this text."""

        async def look() -> Script | None:
            return self.script(name)

        found = await eventually(look, until=lambda script: _holds(script, text))
        assert found is not None
        return found

    async def until_problem(self, name: str, words: str) -> Script:
        """The script, once it has a settled problem with these words."""

        async def look() -> Script | None:
            return self.script(name)

        found = await eventually(
            look, until=lambda seen: seen is not None and words in seen.problem
        )
        assert found is not None
        return found


def _holds(script: Script | None, text: str) -> bool:
    if script is None or not script.ready:
        return False
    there = script.path.read_bytes()
    read = hashlib.sha256(there).hexdigest() == script.sha256
    return not text or (read and text.encode() in there)


@asynccontextmanager
async def live(
    home: Path, *, loader: ScriptLoader | None = None, **sections: Any
) -> AsyncIterator[Live]:
    """A catalog that follows `home`/scripts; `loader` reads it in place of the usual one."""
    (home / "scripts").mkdir(exist_ok=True)
    running = Live(settings_in(home, **sections), loader)
    await running.scripts.start()
    following = asyncio.create_task(running.scripts.run(), name="following")
    try:
        yield running
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await running.scripts.close()
