"""What is in the simulated database: deliveries that wait, and how many of each script run."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from tests.benchmarks.simulation.given import Script


@dataclass(eq=False, slots=True)
class Delivery:
    """One delivery."""

    script: int
    waits: float | None = None
    """seconds, where they are known beforehand"""
    received: float = 0.0
    due: float = 0.0
    attempts: int = 0
    started: float | None = None
    """when its first attempt was"""


class Backlog:
    """Pending deliveries by script, oldest first."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = scripts
        self._queues: list[deque[Delivery]] = [deque() for _ in scripts]
        self._running: Counter[int] = Counter()
        self._locked: dict[int, object] = {}

    def __len__(self) -> int:
        """How many are due."""
        return sum(map(len, self._queues))

    @property
    def running(self) -> int:
        """Attempts."""
        return self._running.total()

    def add(self, delivery: Delivery, now: float) -> None:
        """It is due from now on."""
        delivery.due = now
        self._queues[delivery.script].append(delivery)

    def take(self, slots: int, who: object) -> list[Delivery]:
        """As many as there are slots for, oldest first, within each script's concurrency.

        A script with a concurrency stays locked to `who` until `unlock`, as its claim is one
        transaction.
        """
        open_ = [n for n in range(len(self._queues)) if self._lock(n, who)]
        taken: list[Delivery] = []
        while len(taken) < slots:
            heads = [queue[0].due for n in open_ if (queue := self._queues[n]) and self._room(n)]
            if not heads:
                break
            script = min((q[0].due, n) for n in open_ if (q := self._queues[n]) and self._room(n))
            taken.append(self._queues[script[1]].popleft())
            self._running[script[1]] += 1
        return taken

    def _lock(self, script: int, who: object) -> bool:
        limited = self._scripts[script].concurrency is not None
        return not limited or self._locked.setdefault(script, who) is who

    def _room(self, script: int) -> bool:
        limit = self._scripts[script].concurrency
        return limit is None or self._running[script] < limit

    def unlock(self, who: object) -> None:
        """The claim is committed."""
        self._locked = {n: holder for n, holder in self._locked.items() if holder is not who}

    def ended(self, delivery: Delivery) -> None:
        """Its attempt runs no more."""
        self._running[delivery.script] -= 1
