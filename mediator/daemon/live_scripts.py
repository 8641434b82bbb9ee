"""The catalog in force, and how it is replaced by a newer one."""

from __future__ import annotations

import asyncio

import structlog

from mediator.catalog.directory import ScriptsDirectory
from mediator.catalog.scripts import Catalog
from mediator.errors import SettingsError

_log = structlog.get_logger()


class LiveScripts:
    """Holds the current catalog; whoever asks gets a snapshot that never changes."""

    def __init__(self, directory: ScriptsDirectory) -> None:
        self._directory = directory
        self._catalog: Catalog | None = None

    @property
    def catalog(self) -> Catalog:
        """The scripts as they were last read."""
        assert self._catalog is not None, "read before start"  # noqa: S101
        return self._catalog

    async def start(self) -> None:
        """Read the directory. Raises `SettingsError` when it cannot be listed."""
        self._catalog = await asyncio.to_thread(self._directory.load)
        self._tell()

    async def reload(self) -> None:
        """Read it again; the old catalog stays in force when that fails."""
        try:
            await self.start()
        except SettingsError as error:
            _log.error("scripts not reloaded", reason=error.detail)

    def _tell(self) -> None:
        scripts = self.catalog.scripts.values()
        for script in scripts:
            if script.problem:
                _log.warning("script not ready", script=script.name, reason=script.problem)
        for warning in self.catalog.warnings:
            _log.warning("oddity in the scripts directory", reason=warning)
        ready = sum(script.ready for script in scripts)
        _log.info("scripts read", ready=ready, not_ready=len(scripts) - ready)
