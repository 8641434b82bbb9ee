"""Environments with the packages that scripts depend on: built once, ahead of the first delivery.

`Builder` finds and builds one. `Environments` keeps those ready that the scripts of a running
mediator need. `prepare` builds them at another time: for an image, in an init container, for a run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable
from contextvars import Context
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter
from tenacity.wait import wait_base

from mediator.catalog.environments.cache import EnvironmentCache
from mediator.catalog.environments.uv import (
    BuildFailed,
    InstalledPython,
    Interpreters,
    Uv,
    without_credentials,
)
from mediator.catalog.metadata import Requirements
from mediator.catalog.script import Catalog, EnvironmentState, Script
from mediator.clock import wait_for_event
from mediator.metrics import Metrics

NOT_BUILT = "its environment is not built yet; `mediator prepare` builds it, and so does serve."
"""What is wrong with a script whose environment is only not there yet."""
_AT_ONCE = 2
"""Environments built at the same time."""
_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedEnvironment:
    """What requirements come down to on this machine."""

    python: InstalledPython
    """the interpreter, or the one that the environment is made with"""
    key: str = ""
    """of the environment in the cache; empty: none is needed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """Finds and builds environments; it remembers nothing of them but their interpreters."""

    uv: Uv
    cache: EnvironmentCache
    interpreters: Interpreters = field(init=False)

    def __post_init__(self) -> None:
        """Set up what is built from the others."""
        object.__setattr__(self, "interpreters", Interpreters(self.uv))

    async def resolve(self, requirements: Requirements) -> ResolvedEnvironment:
        """Where what is required is, or will be.

        Raises `BuildFailed` without a fitting Python.
        """
        python = await self.interpreters.find(requirements)
        key = self._key(requirements, python) if requirements.packages else ""
        return ResolvedEnvironment(python=python, key=key)

    def interpreter(
        self, requirements: Requirements, resolved: ResolvedEnvironment
    ) -> tuple[str, ...]:
        """What starts a script with these requirements; nothing: its first line does."""
        if resolved.key:
            return str(self.cache.python(resolved.key)), *requirements.flags
        if resolved.python.asked == requirements.interpreter:
            return ()
        return resolved.python.path, *requirements.flags

    def has(self, resolved: ResolvedEnvironment) -> bool:
        """Whether it is there already, and the interpreter still."""
        there = Path(resolved.python.path).exists()
        return there and (not resolved.key or self.cache.has(resolved.key))

    async def build(self, requirements: Requirements, resolved: ResolvedEnvironment) -> bool:
        """Build it, unless somebody else just has; whether it was built here.

        Raises `BuildFailed`. What was begun is removed, however this ends. What is there needs no
        lock, so it is of use where nothing can be written too.
        """
        if self.cache.has(resolved.key):
            return False
        try:
            async with self.cache.locked(resolved.key) as lock:
                if self.cache.has(resolved.key):
                    return False
                await self._make(requirements, resolved, lock)
                return True
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise BuildFailed(f"{error.strerror or error}{where}") from error

    async def _make(
        self, requirements: Requirements, resolved: ResolvedEnvironment, lock: int
    ) -> None:
        key = resolved.key
        directory = await asyncio.to_thread(self.cache.begin, key)
        try:
            await self._install(requirements, resolved.python, directory, lock=lock)
            card = self._card(requirements, resolved.python)
            await asyncio.to_thread(self.cache.put, key, directory, card)
        finally:
            await asyncio.to_thread(self.cache.clean_up, key)

    async def _install(
        self, requirements: Requirements, python: InstalledPython, directory: Path, *, lock: int
    ) -> None:
        """Have uv keep the lock too: should it outlive this process, nobody builds beside it."""
        await self.uv.run(
            *("venv", "--no-project", "--relocatable", f"--python={python.path}"),
            str(directory),
            keep_open=[lock],
        )
        await self.uv.run(
            *("pip", "install", "--compile-bytecode", f"--python={directory / 'bin' / 'python'}"),
            *self.uv.sources,
            *requirements.packages,
            keep_open=[lock],
        )

    def _key(self, requirements: Requirements, python: InstalledPython) -> str:
        """The same for the same packages from the same places for the same Python."""
        parts = [requirements.key_parts, python.path, python.version, self.uv.identity]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _card(self, requirements: Requirements, python: InstalledPython) -> dict[str, object]:
        """For people who look into the directory."""
        return {
            "requirements": requirements.packages,
            "requires-python": requirements.requires_python,
            "python": python.path,
            "version": python.version,
            "sources": [without_credentials(option) for option in self.uv.sources],
        }


def builder(uv: Uv) -> Builder:
    """The usual one."""
    return Builder(uv=uv, cache=EnvironmentCache(directory=uv.settings.directory))


@dataclass(kw_only=True, slots=True)
class EnvironmentStatus:
    """Requirements of scripts, and how far they are met."""

    requirements: Requirements
    state: EnvironmentState = EnvironmentState.MISSING
    problem: str = ""
    """why they are not met, one sentence; empty: they are"""
    resolved: ResolvedEnvironment | None = None
    again: asyncio.Event = field(default_factory=asyncio.Event)
    """set: try again now"""
    task: asyncio.Task[None] | None = None

    async def pause(self, seconds: float) -> None:
        """Until the next try, or until it may succeed now."""
        await wait_for_event(self.again, seconds=seconds)


class Environments:
    """Builds what is required, tries again what failed, and removes what nobody needs any more."""

    def __init__(
        self,
        builder: Builder,
        *,
        metrics: Metrics,
        changed: Callable[[], None],
        wait: wait_base | None = None,
    ) -> None:
        """`changed` is called when requirements are met or known not to be; `wait`: between tries.

        A wait is tenacity's.
        """
        self.builder = builder
        self._metrics = metrics
        self._changed = changed
        self._wait = wait or wait_exponential_jitter(multiplier=5, max=600)
        self._required: dict[Requirements, EnvironmentStatus] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._building = asyncio.Semaphore(_AT_ONCE)

    def get(self, requirements: Requirements) -> EnvironmentStatus:
        """How far requirements are met that were stated before."""
        return self._required[requirements.shared]

    async def require(
        self, requirements: Collection[Requirements], *, again: Collection[Requirements] = ()
    ) -> None:
        """Have these met and no others; those in `again` are tried at once.

        Returns when it is known which are met already; what must be built is built later.
        """
        shared = {one.shared for one in requirements}
        for dropped in [known for known in self._required if known not in shared]:
            self._forget(dropped)
        waiting = {one.shared for one in again} & self._required.keys()
        for one in shared:
            status = self._required.setdefault(one, EnvironmentStatus(requirements=one))
            if status.task is None and not await self._is_met(status):
                name = f"environment-{len(self._required)}"
                # Built for whoever needs it, not only for the attempt that noticed.
                status.task = asyncio.create_task(
                    self._keep_building(status), name=name, context=Context()
                )
        for one in waiting:
            self._required[one].again.set()

    async def collect_garbage(self, *, keep_unused: timedelta) -> None:
        """Note which environments are needed, and remove those that have not been for long."""
        cache, keys = self.builder.cache, self._keys()
        for key in keys:
            await asyncio.to_thread(cache.touch, key)
        try:
            gone = await asyncio.to_thread(cache.evict, keep=keys, unused_for=keep_unused)
        except (BuildFailed, OSError) as error:
            _log.warning("unused environments not removed", reason=str(error))
            return
        for key in gone:
            _log.info("environment removed", key=key, reason="no script needs it")

    async def close(self) -> None:
        """Stop building."""
        for requirements in list(self._required):
            self._forget(requirements)
        if self._ending:
            await asyncio.wait(self._ending)

    def _keys(self) -> set[str]:
        found = (status.resolved for status in self._required.values())
        return {resolved.key for resolved in found if resolved is not None and resolved.key}

    def _forget(self, requirements: Requirements) -> None:
        task = self._required.pop(requirements).task
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _is_met(self, status: EnvironmentStatus) -> bool:
        """Look only: whether the requirements are met."""
        try:
            if status.resolved is None or status.problem:  # what is met is not searched for again
                status.resolved = await self.builder.resolve(status.requirements)
        except BuildFailed as error:
            status.resolved = None
            self._fail(status, error)
            return False
        resolved = status.resolved
        if not await asyncio.to_thread(self.builder.has, resolved):
            if status.state is not EnvironmentState.FAILED:  # the reason stays until it is mended
                status.state = EnvironmentState.BUILDING
                status.problem = "its environment is being built."
            return False
        status.state = EnvironmentState.READY if resolved.key else EnvironmentState.NONE
        status.problem = ""
        return True

    async def _keep_building(self, status: EnvironmentStatus) -> None:
        """Build it, and try again until it is there."""
        trying = AsyncRetrying(
            retry=retry_if_exception_type(BuildFailed),
            wait=self._wait,
            before_sleep=lambda call: self._log_failure(status, call),
            sleep=status.pause,
        )
        try:
            await trying(self._try, status)
        except Exception as error:  # noqa: BLE001 - one environment's fault, not the daemon's
            _log.exception("environment build failed in the mediator")
            self._fail(status, BuildFailed(f"the mediator itself failed ({type(error).__name__})"))
        finally:
            status.task = None
        self._changed()

    async def _try(self, status: EnvironmentStatus) -> None:
        status.again.clear()
        if await self._is_met(status):
            return
        if status.resolved is None:
            raise BuildFailed(status.problem)
        async with self._building:
            await self._build(status.requirements, status.resolved)
        if not await self._is_met(status):
            raise BuildFailed("it was gone as soon as it was there")

    async def _build(self, requirements: Requirements, resolved: ResolvedEnvironment) -> None:
        fields = {"key": resolved.key, "requirements": requirements.packages}
        began = time.monotonic()
        self._changed()
        _log.info("environment build started", **fields, python=resolved.python.path)
        try:
            built = await self.builder.build(requirements, resolved)
        except BuildFailed:
            self._metrics.catalog.builds.labels("failed").inc()
            raise
        if built:
            seconds = time.monotonic() - began
            self._metrics.catalog.builds.labels("ok").inc()
            self._metrics.catalog.build_duration.observe(seconds)
            _log.info("environment built", **fields, seconds=round(seconds, 2))

    def _log_failure(self, status: EnvironmentStatus, call: RetryCallState) -> None:
        error = call.outcome and call.outcome.exception()
        if status.resolved is not None:
            self._fail(status, error)
        pause = round(call.upcoming_sleep, 1)
        _log.warning("environment not built", reason=status.problem, next_try_in_seconds=pause)
        self._changed()

    def _fail(self, status: EnvironmentStatus, error: object) -> None:
        status.state = EnvironmentState.FAILED
        packages = status.resolved is not None
        what = "its environment could not be built" if packages else "it cannot be started"
        status.problem = f"{what}: {error}."


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What came of one set of requirements."""

    scripts: tuple[str, ...]
    requirements: tuple[str, ...]
    key: str = ""
    """name of the environment's directory; empty: there is none"""
    built: bool = False
    """or it was there before"""
    problem: str = ""
    """why it is not there, one sentence; empty: it is"""
    seconds: float = 0.0


async def prepare(scripts: Iterable[Script], builder: Builder) -> list[BuildReport]:
    """Build what the scripts need, one environment after another. Never raises for a failure."""
    groups: dict[Requirements, list[str]] = {}
    for script in scripts:
        if script.requirements is not None:
            groups.setdefault(script.requirements.shared, []).append(script.name)
    return [await _prepared(shared, tuple(names), builder) for shared, names in groups.items()]


async def _prepared(
    requirements: Requirements, scripts: tuple[str, ...], builder: Builder
) -> BuildReport:
    began = time.monotonic()
    report = BuildReport(scripts=scripts, requirements=requirements.packages)
    try:
        resolved = await builder.resolve(requirements)
        report = replace(report, key=resolved.key)
        is_new = bool(resolved.key) and await builder.build(requirements, resolved)
    except BuildFailed as error:
        return replace(report, problem=f"{error}.")
    return replace(report, built=is_new, seconds=time.monotonic() - began)


async def equipped(script: Script, builder: Builder) -> Script:
    """The script with its environment, which is built if need be; or why it cannot be."""
    if script.requirements is None or script.problem:
        return script
    (report,) = await prepare([script], builder)
    if report.problem:
        return replace(script, problem=f"its environment could not be built: {report.problem}")
    return await _with_environment(script, builder)


async def with_environments(catalog: Catalog, builder: Builder) -> Catalog:
    """The catalog with the environments that are there; nothing is built or written."""
    scripts = {
        name: await _with_environment(script, builder) for name, script in catalog.scripts.items()
    }
    return replace(catalog, scripts=MappingProxyType(scripts))


async def _with_environment(script: Script, builder: Builder) -> Script:
    if script.requirements is None or script.problem:
        return script
    try:
        resolved = await builder.resolve(script.requirements)
    except BuildFailed as error:
        return replace(script, problem=f"it cannot be started: {error}.")
    if not builder.has(resolved):
        return replace(script, problem=NOT_BUILT)
    return with_interpreter(script, builder, resolved)


def with_interpreter(script: Script, builder: Builder, resolved: ResolvedEnvironment) -> Script:
    """A script whose requirements are met."""
    assert script.requirements is not None  # noqa: S101 - the caller has looked
    state = EnvironmentState.READY if resolved.key else EnvironmentState.NONE
    interpreter = builder.interpreter(script.requirements, resolved)
    return replace(script, interpreter=interpreter, environment=state)
