"""The environments that the scripts of the moment need, kept ready and told about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter
from tenacity.wait import wait_base

from mediator.catalog.environments.building import Builder, Place
from mediator.catalog.environments.uv import BuildFailed
from mediator.catalog.needs import Need
from mediator.catalog.scripts import EnvironmentState
from mediator.metrics import Metrics

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
            sleep=lambda seconds: _pause(wanted.again, seconds),
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


async def _pause(again: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until something has changed."""
    try:
        async with asyncio.timeout(seconds):
            await again.wait()
    except TimeoutError:
        return
