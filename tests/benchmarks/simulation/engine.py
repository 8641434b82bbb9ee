"""Simulated time, and the two things that work waits for: servers, and a disk that flushes."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

Act = Callable[[], None]


class Engine:
    """A clock that jumps from one event to the next."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = Random(seed)  # noqa: S311 - a simulation must be repeatable
        self._events: list[tuple[float, int, Act]] = []
        self._order = count()

    def after(self, seconds: float, act: Act) -> None:
        """Do it later; what is due at one moment is done in the order it was asked for."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), act))

    def run(self, until: float) -> None:
        """Until this moment."""
        while self._events and self._events[0][0] <= until:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = until


class Station:
    """Some servers and one queue before them, first come first served but for what is urgent."""

    def __init__(self, engine: Engine, servers: int) -> None:
        self.servers = servers
        self.worked = 0.0
        """seconds of all servers together"""
        self._engine = engine
        self._busy = 0
        self._waiting: deque[tuple[float, Act]] = deque()

    def use(self, seconds: float, then: Act, *, urgent: bool = False) -> None:
        """Wait for a server, keep it for so long, then go on."""
        put = self._waiting.appendleft if urgent else self._waiting.append
        put((seconds, then))
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._busy < self.servers:
            seconds, then = self._waiting.popleft()
            self._busy += 1
            self.worked += seconds
            self._engine.after(seconds, partial(self._end, then))

    def _end(self, then: Act) -> None:
        self._busy -= 1
        self._serve()
        then()


class Flusher:
    """One disk: whoever waits when it begins to flush is served by that one flush."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.worked = 0.0
        self._engine = engine
        self._seconds = seconds
        self._busy = False
        self._waiting: list[Act] = []

    def flush(self, then: Act) -> None:
        """Go on when all that was written before is on disk."""
        self._waiting.append(then)
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        group, self._waiting = self._waiting, []
        self._busy = True
        self.worked += self._seconds
        self._engine.after(self._seconds, partial(self._end, group))

    def _end(self, group: list[Act]) -> None:
        self._busy = False
        if self._waiting:
            self._begin()
        for then in group:
            then()
