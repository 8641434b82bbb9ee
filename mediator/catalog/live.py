"""The catalog in force: kept fresh while scripts come, change and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import structlog

from mediator.catalog.environments.builder import Builder, Environments, with_interpreter
from mediator.catalog.files import QUIET
from mediator.catalog.loader import ScanResult, ScriptLoader, ScriptsDirectory, being_written
from mediator.catalog.script import Catalog, EnvironmentState, Script
from mediator.catalog.watcher import DirectoryWatcher
from mediator.clock import wait_for_event
from mediator.errors import SettingsError
from mediator.metrics import Metrics

_log = structlog.get_logger()

_FIRST_SCAN = 5.0
"""Seconds that the start waits for files that are being written."""
_COLLECT = 3600.0
"""Seconds between two collections of environments that nobody needs."""
_NAMES_LOGGED = 20
"""Names of scripts in one log line at most."""


class LiveScripts:
    """Holds the current catalog; whoever asks gets a snapshot that never changes."""

    def __init__(
        self,
        where: ScriptsDirectory,
        builder: Builder,
        *,
        metrics: Metrics,
        loader: ScriptLoader | None = None,
    ) -> None:
        self._settings = where.settings
        self._loader = loader or ScriptLoader(where)
        self._metrics = metrics
        self._environments = Environments(builder, metrics=metrics, changed=self._put_in_force)
        self._watcher = DirectoryWatcher(where.settings.scripts)
        self._listeners: list[Listener] = []
        self._scanning = asyncio.Lock()
        self._scan: ScanResult | None = None
        self._gone_since: float | None = None
        self._catalog: Catalog | None = None
        self._announced: Mapping[str, Script] = {}
        self._warned: tuple[str, ...] = ()
        self._ready: set[str] = set()

    @property
    def catalog(self) -> Catalog:
        """The scripts as they were last read."""
        assert self._catalog is not None, "read before start"  # noqa: S101
        return self._catalog

    def listen(self, listener: Listener) -> None:
        """Have `listener` called in the event loop whenever scripts have changed."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Read the directory. Raises `SettingsError` when it cannot be listed.

        Environments that are there are used at once; the others are built from now on.
        """
        deadline = time.monotonic() + _FIRST_SCAN
        await self._take(await asyncio.to_thread(self._loader.scan))
        while self._incomplete and time.monotonic() < deadline:
            await asyncio.sleep(QUIET)
            await self.look()

    async def run(self) -> None:
        """Keep the catalog fresh until cancelled."""
        async with asyncio.TaskGroup() as side:
            side.create_task(self._watcher.listen(), name="watching the scripts directory")
            side.create_task(self._collect_garbage(), name="removing unused environments")
            await self._keep_looking()

    async def close(self) -> None:
        """Stop building environments."""
        await self._environments.close()

    async def reload(self) -> None:
        """Read everything again, also what seems unchanged, and try failed builds again."""
        self._loader.forget()
        await self.look()

    async def look(self) -> None:
        """Read what has changed. Never raises: what is wrong is in the catalog, and logged."""
        await self._read()
        if self._incomplete:  # `run` may be waiting for something else to happen
            self._watcher.due.set()

    @property
    def _incomplete(self) -> bool:
        return self._scan is None or self._scan.incomplete

    async def _keep_looking(self) -> None:
        while True:
            longest = QUIET if self._incomplete else self._watcher.idle
            await wait_for_event(self._watcher.due, seconds=longest)
            self._watcher.due.clear()
            await self._read()

    async def _collect_garbage(self) -> None:
        keep = self._settings.environments.keep_unused
        while True:
            await self._environments.collect_garbage(keep_unused=keep)
            await asyncio.sleep(_COLLECT)

    async def _read(self) -> None:
        async with self._scanning:
            try:
                await self._take(await asyncio.to_thread(self._loader.scan))
            except SettingsError as error:
                self._directory_gone(error)
            except Exception:  # noqa: BLE001 - whatever is wrong, the next scan may be better
                self._metrics.catalog.reloads.labels("failed").inc()
                _log.exception("scripts not reloaded")

    async def _take(self, scan: ScanResult) -> None:
        found = scan.catalog.scripts.items()
        needed = {name: script.requirements for name, script in found if script.requirements}
        read = {requirements for name, requirements in needed.items() if name in scan.read}
        await self._environments.require(set(needed.values()), again=read)
        if scan.read:
            self._metrics.catalog.reloads.labels("ok").inc()
        self._scan, self._gone_since = scan, None
        self._put_in_force()

    def _put_in_force(self) -> None:
        """Make the last scan the catalog, with the environments as they are now."""
        if self._scan is None:
            return
        found = self._scan.catalog
        scripts = {name: self._equipped(script) for name, script in found.scripts.items()}
        self._catalog = replace(found, scripts=MappingProxyType(scripts))
        self._announce()

    def _equipped(self, script: Script) -> Script:
        if script.requirements is None or (script.problem and not script.changing):
            return script
        environment = self._environments.get(script.requirements)
        if environment.problem or environment.resolved is None:
            return replace(
                script,
                problem=environment.problem,
                environment=environment.state,
                changing=(
                    environment.state is EnvironmentState.BUILDING
                    and self._took_deliveries(script.name)
                ),
            )
        if script.changing:
            return script
        return with_interpreter(script, self._environments.builder, environment.resolved)

    def _took_deliveries(self, name: str) -> bool:
        """Whether a script took deliveries until now: then those that come wait for the build."""
        before = self._catalog.scripts.get(name) if self._catalog is not None else None
        return before is not None and before.takes_deliveries

    def _directory_gone(self, error: SettingsError) -> None:
        """For a moment it may only be changing places; then no script is ready any more."""
        now = time.monotonic()
        if self._gone_since is None:
            self._gone_since = now
            self._metrics.catalog.reloads.labels("failed").inc()
            _log.error("scripts not reloaded", reason=error.detail)
        brief, self._scan = now - self._gone_since < QUIET, None
        scripts = {
            name: being_written(script) if brief else _gone(script, error.detail)
            for name, script in self.catalog.scripts.items()
        }
        now_gone = MappingProxyType(scripts)
        self._catalog = replace(self.catalog, scripts=now_gone, problem=error.detail)
        self._announce()

    def _announce(self) -> None:
        """Log what has changed, and call those who listen."""
        now = last_good(self._announced, self.catalog.scripts)
        changes, self._announced = changes_between(self._announced, now), now
        for warning in self.catalog.warnings:
            if warning not in self._warned:
                _log.warning("warning about the scripts directory", reason=warning)
        self._warned = self.catalog.warnings
        if changes:
            _log_changes(changes, now)
        ready = {script.name for script in self.catalog.scripts.values() if script.ready}
        if changes or ready != self._ready:  # a file that was only touched was not ready meanwhile
            for listener in self._listeners:
                listener(changes)
        self._ready = ready


def _gone(script: Script, reason: str) -> Script:
    return replace(script, problem=reason, changing=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptChanges:
    """Names of scripts; one may be changed and broken, or changed and mended, at once."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broke: tuple[str, ...] = ()
    """cannot run any more, or cannot run for another reason than before"""
    mended: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(getattr(self, field.name) for field in fields(self))


Listener = Callable[[ScriptChanges], None]


def changes_between(before: Mapping[str, Script], after: Mapping[str, Script]) -> ScriptChanges:
    """What has happened between two catalogs."""
    both = [(before[name], after[name]) for name in after if name in before]
    new = [script for name, script in after.items() if name not in before]
    return ScriptChanges(
        added=tuple(script.name for script in new),
        changed=tuple(now.name for was, now in both if _differs(was, now)),
        removed=tuple(name for name in before if name not in after),
        broke=tuple(_broke(both, new)),
        mended=tuple(now.name for was, now in both if now.ready and not was.ready),
    )


def last_good(before: Mapping[str, Script], after: Mapping[str, Script]) -> dict[str, Script]:
    """`after`, where scripts that are being written are still what they were."""
    return {
        name: before.get(name, script) if script.changing else script
        for name, script in after.items()
    }


def _broke(both: list[tuple[Script, Script]], new: list[Script]) -> Iterator[str]:
    yield from (script.name for script in new if not script.ready)
    yield from (now.name for was, now in both if now.problem and now.problem != was.problem)


def _differs(was: Script, now: Script) -> bool:
    """Whether it would run otherwise; a file that was only touched would not."""
    return (was.sha256, was.policy, was.fallback) != (now.sha256, now.policy, now.fallback)


def _log_changes(changes: ScriptChanges, scripts: Mapping[str, Script]) -> None:
    for name in changes.broke:
        _log.warning("script not ready", script=name, reason=scripts[name].problem)
    for name in changes.mended:
        _log.info("script ready", script=name)
    for word in ("added", "changed", "removed"):
        if names := getattr(changes, word):
            shown = names[:_NAMES_LOGGED]
            _log.info("scripts changed", change=word, scripts=shown, count=len(names))
    ready = sum(script.ready for script in scripts.values())
    _log.info("scripts read", ready=ready, not_ready=len(scripts) - ready)
