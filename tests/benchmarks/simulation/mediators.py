"""One simulated mediator: takes in, claims, runs, records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mediator.dispatch.dispatcher import LONGEST_IDLE
from mediator.storage.postgres_notify import GATHERING
from tests.benchmarks.simulation.backlog import Delivery
from tests.benchmarks.simulation.database import Kind, Write, Writer
from tests.benchmarks.simulation.engine import Act, Station

if TYPE_CHECKING:
    from tests.benchmarks.simulation.cluster import Cluster

COUNTS = 5.0
"""Seconds after which intake counts anew what waits (`mediator.web.backpressure`)."""


class Mediator:
    """One of several."""

    def __init__(self, cluster: Cluster) -> None:
        given, engine = cluster.given, cluster.engine
        self.alive = True
        self.free = given.slots
        self.worked = 0.0
        """seconds of all slots together"""
        self.interpreter = Station(engine, 1)
        self.cores = Station(engine, given.cores)
        self.writer = Writer(cluster.database)
        self.arriving: set[Delivery] = set()
        self.held: dict[Delivery, float] = {}
        """delivery → when its slot was taken"""
        self._cluster = cluster
        self._waits = False
        self._again = False
        self._nap = 0
        self._gathered: bool | None = None
        """notices wait to be sent: True when one of them tells of work, not only of ends"""
        self._counted = -COUNTS

    def _if_alive(self, act: Callable[..., None], *what: object) -> Act:
        return lambda: act(*what) if self.alive else None

    # --- intake --------------------------------------------------------------------------------

    def hand_over(self, delivery: Delivery) -> None:
        """A request arrives."""
        self.arriving.add(delivery)
        self._count()
        received = self._if_alive(self._received, delivery)
        self.interpreter.use(self._cluster.given_times.intake, received)

    def _count(self) -> None:
        now = self._cluster.engine.now
        if now - self._counted >= COUNTS:
            self._counted = now
            database = self._cluster.database
            rows = len(self._cluster.backlog)
            database.read(database.times.count_each, lambda: None, times=rows)

    def _received(self, delivery: Delivery) -> None:
        delivery.received = self._cluster.engine.now
        kept = self._if_alive(self._kept, delivery)
        self.writer.submit(Write(kind=Kind.ACCEPT, committed=kept))

    def _kept(self, delivery: Delivery) -> None:
        self.arriving.discard(delivery)
        self._cluster.accepted(delivery)
        self.tell()

    def tell(self) -> None:
        """There is work: here at once, elsewhere after notices have gathered."""
        self.wake()
        self._ring(work=True)

    def _ring(self, *, work: bool) -> None:
        if self._gathered is None:
            self._gathered = False
            self._cluster.engine.after(GATHERING, self._if_alive(self._send))
        self._gathered = self._gathered or work

    def _send(self) -> None:
        work, self._gathered = self._gathered, None
        others = partial(self._cluster.wake, self) if work else lambda: None
        self._cluster.database.read(self._cluster.given_times.notify, others)

    # --- dispatch ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look for work, now or after the look that goes on."""
        if not self.alive or not self.free:
            return
        self._again = True
        if self._waits:
            self._round()

    def _round(self) -> None:
        self._waits = self._again = False
        self._nap += 1
        if not self.free:
            self.rest(LONGEST_IDLE.total_seconds())
            return
        found: list[Delivery] = []

        def look() -> int:
            if self.alive:
                found.extend(self._cluster.backlog.take(self.free, self))
            self.held.update(dict.fromkeys(found, self._cluster.engine.now))
            self._cluster.pending -= len(found)
            return len(found)

        claimed = partial(self._claimed, found)
        self.writer.submit(Write(kind=Kind.CLAIM, committed=claimed, count=look))

    def _claimed(self, found: list[Delivery]) -> None:
        self._cluster.backlog.unlock(self)
        if not self.alive:
            return
        for delivery in found:
            self._start(delivery)
        if not self.free:
            self.rest(LONGEST_IDLE.total_seconds())
            return
        looked = self._if_alive(self._looked)
        self._cluster.database.read(self._cluster.given_times.next_due, looked)

    def _looked(self) -> None:
        self.rest(min(LONGEST_IDLE.total_seconds(), self._cluster.next_retry()))

    def rest(self, seconds: float) -> None:
        """Until then, unless there is work to look for at once."""
        if self._again and self.free:
            self._round()
            return
        self._waits = True
        self._cluster.engine.after(seconds, partial(self._rested, self._nap))

    def _rested(self, nap: int) -> None:
        if self.alive and self._waits and nap == self._nap:
            self._round()

    # --- attempts ------------------------------------------------------------------------------

    def _start(self, delivery: Delivery) -> None:
        self.free -= 1
        self._cluster.starts(delivery)
        script = self._cluster.given.scripts[delivery.script]
        waits = delivery.waits
        if waits is None:
            waits = script.waiting(self._cluster.engine.random)
        ran = self._if_alive(self._ran, delivery)
        answer = partial(self._cluster.engine.after, waits, ran)
        run = self._if_alive(partial(self.cores.use, script.processor, answer))
        # Requests that are not read yet wait in sockets: an attempt waits only for a step of one.
        self.interpreter.use(self._cluster.given_times.attempt, run, urgent=True)

    def _ran(self, delivery: Delivery) -> None:
        recorded = self._if_alive(self._recorded, delivery)
        self.writer.submit(Write(kind=Kind.FINISH, committed=recorded))

    def _recorded(self, delivery: Delivery) -> None:
        self.worked += self._cluster.engine.now - self.held.pop(delivery)
        self.free += 1
        self._cluster.ends(delivery)
        self.wake()
        self._ring(work=False)

    def die(self) -> None:
        """All at once; nothing that it has begun goes on."""
        self.alive = False
        self._cluster.backlog.unlock(self)
        now = self._cluster.engine.now
        self.worked += sum(now - since for since in self.held.values())
