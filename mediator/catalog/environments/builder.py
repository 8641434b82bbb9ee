"""Making one environment."""

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

from mediator.catalog.environments.cache import Shelf
from mediator.catalog.environments.uv import BuildFailed, Uv, without_credentials
from mediator.catalog.files import Fingerprint, fingerprint
from mediator.catalog.metadata import Need
from mediator.catalog.script import Catalog, EnvironmentState, Script
from mediator.clock import wait_for_event
from mediator.metrics import Metrics

# Which of the installed Pythons runs a script.

_PATIENCE = 20.0
"""Seconds an interpreter may take to say what it is."""
_ASK = "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3])"


@dataclass(frozen=True, kw_only=True, slots=True)
class Python:
    """An installed interpreter."""

    path: str
    """the interpreter itself, as it says; not what stands in for it on the PATH"""
    version: str
    asked: str
    """the path under which it was found"""


class Interpreters:
    """Finds interpreters, and remembers them for as long as their files stay the same."""

    def __init__(self, uv: Uv) -> None:
        self._uv = uv
        self._asked: dict[tuple[str, Fingerprint], Python] = {}

    async def find(self, need: Need) -> Python:
        """The one the settings or the first line name, when it is new enough; else any that is.

        Raises `BuildFailed` when there is none.
        """
        setting = self._uv.settings.python or ""
        wishes = [need.interpreter, need.version, setting]
        if setting and not need.version and need.requirements:
            wishes = [setting, need.interpreter]
        told = ""
        for wish in filter(None, wishes):
            python = await self._wished(wish)
            if python is not None and need.accepts(python.version):
                return python
            told = told or (f"{python.path} is {python.version}" if python else f"no {wish}")
        return await self._any(need, told)

    async def _wished(self, wish: str) -> Python | None:
        try:
            path = wish if Path(wish).is_absolute() else await self._search(wish)
            return await self._ask(path)
        except BuildFailed:
            return None

    async def _any(self, need: Need, told: str) -> Python:
        wanted = f"a Python {need.requires_python}" if need.requires_python else "a Python"
        try:
            return await self._ask(await self._search(need.requires_python or "python3"))
        except BuildFailed as error:
            seen = f"; {told}" if told else ""
            raise BuildFailed(f"{wanted} is not installed here{seen}") from error

    async def _search(self, request: str) -> str:
        return await self._uv.run(
            "python", "find", "--no-cache", "--system", "--no-project", request
        )

    async def _ask(self, path: str) -> Python:
        key = path, fingerprint(Path(path))
        if key not in self._asked:
            ended = await self._uv.execute([path, "-I", "-S", "-c", _ASK], seconds=_PATIENCE)
            lines = ended.stdout.splitlines()
            if ended.code or len(lines) != 2:
                raise BuildFailed(f"{path} is no Python that works")
            self._asked[key] = Python(path=lines[0], version=lines[1], asked=path)
        return self._asked[key]


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


# Environments at one's own time: at the build of an image, in an init container, for a check.

NOT_BUILT = "its environment is not built yet; `mediator prepare` builds it, and so does serve."
"""What is wrong with a script whose environment is only not there yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What came of one need."""

    scripts: tuple[str, ...]
    requirements: tuple[str, ...]
    key: str = ""
    """name of the environment's directory; empty: there is none"""
    built: bool = False
    """or it was there before"""
    problem: str = ""
    """why it is not there, one sentence; empty: it is"""
    seconds: float = 0.0


async def prepare(scripts: Iterable[Script], builder: Builder) -> list[Prepared]:
    """Build what the scripts need, one environment after another. Never raises for a failure."""
    groups: dict[Need, list[str]] = {}
    for script in scripts:
        if script.need is not None:
            groups.setdefault(script.need.shared, []).append(script.name)
    return [await _prepared(need, tuple(names), builder) for need, names in groups.items()]


async def _prepared(need: Need, scripts: tuple[str, ...], builder: Builder) -> Prepared:
    began = time.monotonic()
    built = Prepared(scripts=scripts, requirements=need.requirements)
    try:
        place = await builder.find(need)
        built = replace(built, key=place.key)
        is_new = bool(place.key) and await builder.build(need, place)
    except BuildFailed as error:
        return replace(built, problem=f"{error}.")
    return replace(built, built=is_new, seconds=time.monotonic() - began)


async def equipped(script: Script, builder: Builder) -> Script:
    """The script with its environment, which is built if need be; or why it cannot be."""
    if script.need is None or script.problem:
        return script
    (made,) = await prepare([script], builder)
    if made.problem:
        return replace(script, problem=f"its environment could not be built: {made.problem}")
    return await _seen(script, builder)


async def with_environments(catalog: Catalog, builder: Builder) -> Catalog:
    """The catalog with the environments that are there; nothing is built or written."""
    scripts = {name: await _seen(script, builder) for name, script in catalog.scripts.items()}
    return replace(catalog, scripts=MappingProxyType(scripts))


async def _seen(script: Script, builder: Builder) -> Script:
    if script.need is None or script.problem:
        return script
    try:
        place = await builder.find(script.need)
    except BuildFailed as error:
        return replace(script, problem=f"it cannot be started: {error}.")
    if not builder.has(place):
        return replace(script, problem=NOT_BUILT)
    return met(script, builder, place)


def met(script: Script, builder: Builder, place: Place) -> Script:
    """A script whose need is met."""
    assert script.need is not None  # noqa: S101 - the caller has looked
    state = EnvironmentState.READY if place.key else EnvironmentState.NONE
    interpreter = builder.interpreter(script.need, place)
    return replace(script, interpreter=interpreter, environment=state)


# The environments that the scripts of the moment need, kept ready and told about.

_log = structlog.get_logger()

_AT_ONCE = 2
"""Environments built at the same time."""


@dataclass(kw_only=True, slots=True)
class Wanted:
    """One need, and how far it is met."""

    need: Need
    state: EnvironmentState = EnvironmentState.MISSING
    problem: str = ""
    """why it is not met, one sentence; empty: it is"""
    place: Place | None = None
    again: asyncio.Event = field(default_factory=asyncio.Event)
    """set: try again now"""
    task: asyncio.Task[None] | None = None

    async def pause(self, seconds: float) -> None:
        """Until the next try, or until it may succeed now."""
        await wait_for_event(self.again, seconds=seconds)


class Environments:
    """Builds what is wanted, tries again what failed, and removes what nobody wants any more."""

    def __init__(
        self,
        builder: Builder,
        *,
        metrics: Metrics,
        changed: Callable[[], None],
        wait: wait_base | None = None,
    ) -> None:
        """`changed` is called when a need is met or known not to be; `wait` is between tries."""
        self.builder = builder
        self._metrics = metrics
        self._changed = changed
        self._wait = wait or wait_exponential_jitter(multiplier=5, max=600)
        self._wanted: dict[Need, Wanted] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._building = asyncio.Semaphore(_AT_ONCE)

    def get(self, need: Need) -> Wanted:
        """How far a need is met that was wanted before."""
        return self._wanted[need.shared]

    async def want(self, needs: Collection[Need], *, again: Collection[Need] = ()) -> None:
        """Have these needs met and no others; those in `again` are tried at once.

        Returns when it is known which are met already; what must be built is built later.
        """
        needs = {need.shared for need in needs}
        for need in [known for known in self._wanted if known not in needs]:
            self._forget(need)
        waiting = {need.shared for need in again} & self._wanted.keys()
        for need in needs:
            wanted = self._wanted.setdefault(need, Wanted(need=need))
            if wanted.task is None and not await self._is_there(wanted):
                name = f"environment-{len(self._wanted)}"
                # Built for whoever needs it, not only for the attempt that noticed.
                wanted.task = asyncio.create_task(
                    self._obtain(wanted), name=name, context=Context()
                )
        for need in waiting:
            self._wanted[need].again.set()

    async def tend(self, *, keep_unused: timedelta) -> None:
        """Note which environments are needed, and remove those that have not been for long."""
        shelf, keys = self.builder.shelf, self._keys()
        for key in keys:
            await asyncio.to_thread(shelf.used, key)
        try:
            gone = await asyncio.to_thread(shelf.remove, keep=keys, unused_for=keep_unused)
        except (BuildFailed, OSError) as error:
            _log.warning("environments not tidied", reason=str(error))
            return
        for key in gone:
            _log.info("environment removed", key=key, reason="no script needs it")

    async def close(self) -> None:
        """Stop building."""
        for need in list(self._wanted):
            self._forget(need)
        if self._ending:
            await asyncio.wait(self._ending)

    def _keys(self) -> set[str]:
        places = (wanted.place for wanted in self._wanted.values())
        return {place.key for place in places if place is not None and place.key}

    def _forget(self, need: Need) -> None:
        task = self._wanted.pop(need).task
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _is_there(self, wanted: Wanted) -> bool:
        """Look only: whether the need is met."""
        try:
            if wanted.place is None or wanted.problem:  # what is met is not searched for again
                wanted.place = await self.builder.find(wanted.need)
        except BuildFailed as error:
            wanted.place = None
            self._fail(wanted, error)
            return False
        place = wanted.place
        if not await asyncio.to_thread(self.builder.has, place):
            if wanted.state is not EnvironmentState.FAILED:  # the reason stays until it is mended
                wanted.state = EnvironmentState.BUILDING
                wanted.problem = "its environment is being built."
            return False
        wanted.state = EnvironmentState.READY if place.key else EnvironmentState.NONE
        wanted.problem = ""
        return True

    async def _obtain(self, wanted: Wanted) -> None:
        """Build it, and try again until it is there."""
        trying = AsyncRetrying(
            retry=retry_if_exception_type(BuildFailed),
            wait=self._wait,
            before_sleep=lambda call: self._tell_failure(wanted, call),
            sleep=wanted.pause,
        )
        try:
            await trying(self._try, wanted)
        except Exception as error:  # noqa: BLE001 - one environment's fault, not the daemon's
            _log.exception("environment build failed in the mediator")
            self._fail(wanted, BuildFailed(f"the mediator itself failed ({type(error).__name__})"))
        finally:
            wanted.task = None
        self._changed()

    async def _try(self, wanted: Wanted) -> None:
        wanted.again.clear()
        if await self._is_there(wanted):
            return
        if wanted.place is None:
            raise BuildFailed(wanted.problem)
        async with self._building:
            await self._build(wanted.need, wanted.place)
        if not await self._is_there(wanted):
            raise BuildFailed("it was gone as soon as it was there")

    async def _build(self, need: Need, place: Place) -> None:
        fields = {"key": place.key, "requirements": need.requirements}
        began = time.monotonic()
        self._changed()
        _log.info("environment build started", **fields, python=place.python.path)
        try:
            built = await self.builder.build(need, place)
        except BuildFailed:
            self._metrics.catalog.builds.labels("failed").inc()
            raise
        if built:
            seconds = time.monotonic() - began
            self._metrics.catalog.builds.labels("ok").inc()
            self._metrics.catalog.build_duration.observe(seconds)
            _log.info("environment built", **fields, seconds=round(seconds, 2))

    def _tell_failure(self, wanted: Wanted, call: RetryCallState) -> None:
        error = call.outcome and call.outcome.exception()
        if wanted.place is not None:
            self._fail(wanted, error)
        pause = round(call.upcoming_sleep, 1)
        _log.warning("environment not built", reason=wanted.problem, next_try_in_seconds=pause)
        self._changed()

    def _fail(self, wanted: Wanted, error: object) -> None:
        wanted.state = EnvironmentState.FAILED
        packages = wanted.place is not None
        what = "its environment could not be built" if packages else "it cannot be started"
        wanted.problem = f"{what}: {error}."
