"""A dispatcher on a real store, with a runner that does what a test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from tenacity import wait_fixed

from mediator.dispatch.attempt import AttemptMaker
from mediator.dispatch.dispatcher import Dispatcher, Pace
from mediator.dispatch.leases import LEASE
from mediator.dispatch.slots import Slots
from mediator.metrics import Metrics
from mediator.model.delivery import Delivery, Ended, Outcome
from mediator.runners.factory import Runners
from mediator.runners.port import LeftRunning, Run
from tests.support.conditions import eventually
from tests.support.store import new
from tests.unit.dispatch.support import Clock, Scripts, script

OK = Ended(outcome=Outcome.OK, exit_code=0)
FAILED = Ended(outcome=Outcome.FAILED, exit_code=1, reason="ended with exit code 1")
STOPPED = Ended(outcome=Outcome.CANCELLED, reason="stopped because that was asked for")

Behaviour = Callable[[Run], Awaitable[Ended]]


OFTEN = timedelta(milliseconds=1)


class Runner:
    """Counts what runs at once; an attempt ends when it is let go, or is stopped."""

    survives_daemon = False

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.go = asyncio.Event()
        self.end: Callable[[Run], Ended] = lambda _: OK

    async def start(self) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def recorded(self, name: str) -> None:
        """Nothing is kept."""

    def kept(self) -> Collection[str]:
        return ()

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        self.runs.append(run)
        keys = (run.program.name, "all")
        for key in keys:
            self.running[key] += 1
            self.most[key] = max(self.most[key], self.running[key])
        try:
            return await self._until(run, stop)
        finally:
            for key in keys:
                self.running[key] -= 1

    async def _until(self, run: Run, stop: asyncio.Event) -> Ended:
        assert run.leave is not None
        waits = [asyncio.create_task(event.wait()) for event in (stop, self.go, run.leave)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if run.leave.is_set():
            raise LeftRunning
        return STOPPED if stop.is_set() else self.end(run)


class Cluster:
    """The same for what has a pod: it goes on without its mediator, and something is kept of it."""

    survives_daemon = True

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.forgotten: list[str] = []
        self.keeps: set[str] = set()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        return await self._runner.run(run, stop=stop)

    async def recorded(self, name: str) -> None:
        self.forgotten.append(name)
        self.keeps.discard(name)

    def kept(self) -> Collection[str]:
        return set(self.keeps)


@dataclass
class House:
    """Everything a dispatcher needs, and the dispatcher."""

    store: Any
    runner: Runner = field(default_factory=Runner)
    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = field(default_factory=Metrics)
    scripts: Scripts = field(default_factory=lambda: Scripts.of(script("a.py"), script("b.py")))
    slots: Slots = field(default_factory=lambda: Slots(trigger=4, interactive=2))
    owner: str = "here"
    pace: Pace = field(default_factory=lambda: Pace(store_wait=wait_fixed(0.001)))
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/bin", "SECRET": "x"})

    def __post_init__(self) -> None:
        self.cluster = Cluster(self.runner)
        self.runners = Runners(here=self.runner, cluster=self.cluster)
        self.dispatcher = self.another()
        self.task: asyncio.Task[None] | None = None

    def another(self, **pace: Any) -> Dispatcher:
        """A dispatcher that is like the first one; `pace`: but for this."""
        maker = AttemptMaker(
            store=self.store,
            runners=self.runners,
            metrics=self.metrics,
            clock=self.clock,
            daemon_environment=self.environment,
            record_wait=self.pace.store_wait,
        )
        return Dispatcher(
            owner=self.owner,
            store=self.store,
            scripts=self.scripts,
            slots=self.slots,
            maker=maker,
            clock=self.clock,
            pace=replace(self.pace, **pace),
        )

    def renewing_often(self) -> None:
        """Have leases looked after all the time."""
        self.dispatcher = self.another(renew_every=OFTEN)

    def begin(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.dispatcher.run())
        return self.task

    async def accept(self, name: str = "a.py", **fields: Any) -> str:
        accepted = await self.store.accept(new(name, **{"at": self.clock.now(), **fields}))
        return str(accepted.id)

    async def state(self, delivery_id: str) -> str:
        return str((await self.find(delivery_id)).state)

    async def find(self, delivery_id: str) -> Delivery:
        found: Delivery = await self.store.find(delivery_id)
        return found

    async def until_state(self, delivery_id: str, state: str) -> Delivery:
        return await eventually(lambda: self.find(delivery_id), until=lambda d: d.state == state)

    async def until_put_back(self, delivery_id: str) -> Delivery:
        """Pending again, after an attempt that ended."""
        return await eventually(
            lambda: self.find(delivery_id),
            until=lambda d: d.state == "pending" and d.attempts_made > 0,
        )

    async def until_running(self, count: int, key: str = "all") -> None:
        async def running() -> int:
            return self.runner.running[key]

        await eventually(running, until=lambda n: n == count)

    async def watched(self, time: timedelta) -> None:
        """Time passes, as seen by a dispatcher that looks again and again meanwhile."""
        step = LEASE / 4
        for _ in range(time // step):
            self.clock.later(step.total_seconds())
            looks = self.store.calls["held"]
            await self.until(lambda looks=looks: self.store.calls["held"] > looks + 1)  # type: ignore[misc]

    async def until(self, condition: Callable[[], bool]) -> None:
        async def look() -> bool:
            return condition()

        await eventually(look)
