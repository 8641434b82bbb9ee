"""What was taken and done lately, as plain numbers, for who asks the mediator and not Prometheus.

It is counted in stretches of ten seconds, and of them no more are held than five minutes have.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from mediator.model.delivery import Outcome

WINDOW = 300.0
"""Seconds that are called lately."""
EVERY = 10.0
"""Seconds of one stretch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecentCounts:
    """What was counted in a stretch of time."""

    uptime: float
    """seconds since the mediator started"""
    seconds: float
    """how long it is: `WINDOW` and a little more, or the time since the mediator started"""
    accepted: int
    """new deliveries"""
    attempts: int
    """attempts that ended, those that were cancelled aside"""
    failed: int
    """those of them that did not succeed"""


@dataclass(kw_only=True, slots=True)
class _Stretch:
    """What was counted in one of the stretches of `EVERY` seconds since the start."""

    number: int
    accepted: int = 0
    attempts: int = 0
    failed: int = 0


class Recent:
    """Counts what this mediator takes and does. `now` is a steady clock, in seconds."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._began = now()
        self._stretches: deque[_Stretch] = deque()
        self.succeeded: Counter[str] = Counter()
        """script → its attempts that succeeded, since the start"""
        self.failed: Counter[str] = Counter()
        """the same for those that neither succeeded nor were cancelled"""

    def accepted(self) -> None:
        """A new delivery is kept."""
        self._latest().accepted += 1

    def attempted(self, script: str, outcome: Outcome) -> None:
        """An attempt ended."""
        if outcome is Outcome.CANCELLED:
            return
        stretch, succeeded = self._latest(), outcome is Outcome.OK
        stretch.attempts += 1
        stretch.failed += not succeeded
        (self.succeeded if succeeded else self.failed)[script] += 1

    def counts(self) -> RecentCounts:
        """What was counted in the last `WINDOW`."""
        uptime = self._uptime()
        first = self._forget(uptime)
        return RecentCounts(
            uptime=uptime,
            seconds=uptime - first * EVERY,
            accepted=sum(stretch.accepted for stretch in self._stretches),
            attempts=sum(stretch.attempts for stretch in self._stretches),
            failed=sum(stretch.failed for stretch in self._stretches),
        )

    def __len__(self) -> int:
        """How many stretches are held."""
        return len(self._stretches)

    def _latest(self) -> _Stretch:
        uptime = self._uptime()
        self._forget(uptime)
        number = int(uptime // EVERY)
        if not self._stretches or self._stretches[-1].number != number:
            self._stretches.append(_Stretch(number=number))
        return self._stretches[-1]

    def _uptime(self) -> float:
        return self._now() - self._began

    def _forget(self, uptime: float) -> int:
        """Drop what is older than the window; the number of the first stretch in it."""
        first = max(0, int((uptime - WINDOW) // EVERY))
        while self._stretches and self._stretches[0].number < first:
            self._stretches.popleft()
        return first
