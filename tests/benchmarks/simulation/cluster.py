"""Some simulated mediators on one database, and the events that reach them."""

from __future__ import annotations

import heapq
from functools import partial

from tests.benchmarks.simulation.backlog import Backlog, Delivery
from tests.benchmarks.simulation.database import Database
from tests.benchmarks.simulation.engine import Engine
from tests.benchmarks.simulation.given import Given, Times
from tests.benchmarks.simulation.mediators import Mediator

RESEND = 1.0
"""Seconds after which a shim tries another mediator."""
JITTER = 0.2


class Cluster:
    """One run of a simulation."""

    def __init__(self, given: Given, times: Times) -> None:
        self.given, self.given_times = given, times
        self.engine = Engine(given.seed)
        self.database = Database(
            self.engine, times, given.database_cores, round_trip=given.round_trip
        )
        self.backlog = Backlog(given.scripts)
        self.arrived = self.succeeded = self.dead = self.retries = self.lost = 0
        self.pending = 0
        """deliveries that wait for an attempt, those that back off too"""
        self.started: list[tuple[float, float]] = []
        """of first attempts: when, and how long after acceptance"""
        self.spent: list[tuple[float, float]] = []
        """of ended deliveries: when, and how long after acceptance"""
        self.marks: list[tuple[float, int]] = []
        """now and then: when, and how many deliveries wait"""
        self._retries: list[float] = []
        self.mediators = [Mediator(self) for _ in range(given.mediators)]

    def run(self) -> Cluster:
        """Until no more events arrive."""
        for mediator in self.mediators:
            mediator.rest(self.engine.random.random())
        if self.given.dies is not None:
            self.engine.after(self.given.dies, self._die)
        for at, waits in self.given.trace:
            self.engine.after(at, partial(self._come, Delivery(script=0, waits=waits)))
        if not self.given.trace:
            self._next_arrival()
        self._mark()
        self.engine.run(self.given.seconds)
        return self

    def _mark(self) -> None:
        self.marks.append((self.engine.now, self.pending))
        self.engine.after(max(self.given.seconds / 1000, 0.01), self._mark)

    def _next_arrival(self) -> None:
        """Poisson; of the highest rate there is, of which only a part arrives at other times."""
        most = self.given.rate * max(1.0, self.given.burst[2] if self.given.burst else 1.0)
        self.engine.after(self.engine.random.expovariate(most), partial(self._arrive, most))

    def _arrive(self, most: float) -> None:
        if self.engine.now >= self.given.seconds:
            return
        if self.engine.random.random() * most < self.given.rate_at(self.engine.now):
            shares = [script.share for script in self.given.scripts]
            (script,) = self.engine.random.choices(range(len(shares)), shares)
            self._come(Delivery(script=script))
        self._next_arrival()

    def _come(self, delivery: Delivery) -> None:
        self.arrived += 1
        self._hand_over(delivery)

    def _hand_over(self, delivery: Delivery) -> None:
        alive = [mediator for mediator in self.mediators if mediator.alive]
        self.engine.random.choice(alive).hand_over(delivery)

    def accepted(self, delivery: Delivery) -> None:
        """It is committed."""
        self.pending += 1
        self.backlog.add(delivery, self.engine.now)

    def starts(self, delivery: Delivery) -> None:
        """An attempt begins."""
        delivery.attempts += 1
        if delivery.started is None:
            delivery.started = self.engine.now
            waited = self.engine.now - delivery.received
            self.started.append((self.engine.now, waited))

    def ends(self, delivery: Delivery) -> None:
        """An attempt is recorded."""
        self.backlog.ended(delivery)
        script = self.given.scripts[delivery.script]
        if self.engine.random.random() >= script.fails:
            self.succeeded += 1
        elif delivery.attempts >= self.given.retry.attempts:
            self.dead += 1
        else:
            self._retry(delivery)
            return
        self.spent.append((self.engine.now, self.engine.now - delivery.received))

    def _retry(self, delivery: Delivery) -> None:
        retry = self.given.retry
        wait = min(retry.first * 2 ** (delivery.attempts - 1), retry.longest)
        wait *= self.engine.random.uniform(1 - JITTER, 1)
        self.retries += 1
        self.pending += 1
        heapq.heappush(self._retries, self.engine.now + wait)
        self.engine.after(wait, partial(self.backlog.add, delivery, self.engine.now + wait))

    def next_retry(self) -> float:
        """Seconds until the next delivery that backs off is due."""
        while self._retries and self._retries[0] <= self.engine.now:
            heapq.heappop(self._retries)
        return self._retries[0] - self.engine.now if self._retries else float("inf")

    def wake(self, teller: Mediator) -> None:
        """All others hear that there is work."""
        for mediator in self.mediators:
            if mediator is not teller:
                mediator.wake()

    def _die(self) -> None:
        """What it ran is put back after the lease; what it had not answered is sent again."""
        dying, *others = self.mediators
        dying.die()
        if not others:
            raise ValueError("one must be left when one dies")
        for delivery in dying.arriving:
            self.engine.after(RESEND, partial(self._hand_over, delivery))
        noticed = self.given.lease * self.engine.random.uniform(1.0, 1.25)
        for delivery in dying.held:
            self.lost += 1
            self.engine.after(noticed, partial(self._put_back, delivery, others[0]))

    def _put_back(self, delivery: Delivery, by: Mediator) -> None:
        self.backlog.ended(delivery)
        self.pending += 1
        self.backlog.add(delivery, self.engine.now)
        by.tell()
