"""The simulated PostgreSQL, and the one connection by which each mediator writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from mediator.storage.postgres import LARGEST_GROUP
from tests.benchmarks.simulation.engine import Act, Engine, Flusher, Station
from tests.benchmarks.simulation.given import Part, Times


class Kind(Enum):
    """What a mediator writes; the values are fields of `Times`."""

    ACCEPT = "accept"
    CLAIM = "claim"
    FINISH = "finish"


@dataclass(kw_only=True, slots=True)
class Write:
    """One item of a transaction."""

    kind: Kind
    committed: Act
    count: Callable[[], int] = field(default=lambda: 1)
    """done when the server comes to it; the rows it concerns"""


class Database:
    """Cores that run statements, and a log that is flushed."""

    def __init__(self, engine: Engine, times: Times, cores: int, *, round_trip: float) -> None:
        self.engine = engine
        self.times = times
        self.round_trip = round_trip
        self.processor = Station(engine, cores)
        self.log = Flusher(engine, times.flush)

    def read(self, cost: Part, then: Act, *, times: int = 1) -> None:
        """Run a statement that changes nothing."""
        self.run(cost * times, then)

    def run(self, cost: Part, then: Act) -> None:
        """What the client does and the way there and back, then what the server does."""
        statements = partial(self.processor.use, cost.server, then)
        self.engine.after(cost.client + cost.trips * self.round_trip, statements)


class Writer:
    """Writes in groups, as `mediator.storage.group_commit` does."""

    def __init__(self, database: Database) -> None:
        self.worked = 0.0
        self._database = database
        self._queue: deque[Write] = deque()
        self._since: float | None = None

    def submit(self, write: Write) -> None:
        """Write it with what is there when the transaction begins."""
        self._queue.append(write)
        if self._since is None:
            self._begin()

    def _begin(self) -> None:
        size = min(len(self._queue), LARGEST_GROUP)
        group = [self._queue.popleft() for _ in range(size)]
        self._since = self._database.engine.now
        self._database.engine.after(0.0, partial(self._run, group))

    def _run(self, group: list[Write]) -> None:
        cost, changes = self._cost(group)
        end = partial(self._end, group)
        log = self._database.log
        self._database.run(cost, partial(log.flush, end) if changes else end)

    def _cost(self, group: list[Write]) -> tuple[Part, bool]:
        """What the transaction costs, and whether there is something to flush."""
        times = self._database.times
        cost, changed = times.begin, 0
        seen: set[Kind] = set()
        for write in group:
            rows = write.count()
            changed += rows
            if write.kind is Kind.CLAIM or write.kind not in seen:
                cost += getattr(times, write.kind.value)
            if write.kind is Kind.CLAIM and rows:
                cost += times.claim_first
            seen.add(write.kind)
            cost += getattr(times, f"{write.kind.value}_each") * rows
        return cost, changed > 0

    def _end(self, group: list[Write]) -> None:
        assert self._since is not None
        self.worked += self._database.engine.now - self._since
        self._since = None
        if self._queue:
            self._begin()
        for write in group:
            write.committed()
