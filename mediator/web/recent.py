"""How much was taken and done lately: the counters now, compared with what they were."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mediator.metrics import Metrics
from mediator.model.delivery import Outcome, Repeat

WINDOW = timedelta(minutes=5)
EVERY = timedelta(seconds=10)
_NO_FAILURE = {Outcome.OK.value, Outcome.CANCELLED.value}


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What was counted until a moment, since the mediator started."""

    at: datetime
    accepted: int
    """new deliveries"""
    succeeded: Counter[str]
    """script → its attempts"""
    failed: Counter[str]
    """the same for those that neither succeeded nor were cancelled"""


def counted(metrics: Metrics, at: datetime) -> Counts:
    """The counters as they are."""
    succeeded, failed = Counter[str](), Counter[str]()
    for labels, count in values(metrics, "mediator_attempts_total"):
        if labels["outcome"] not in _NO_FAILURE:
            failed[labels["script"]] += int(count)
        elif labels["outcome"] == Outcome.OK:
            succeeded[labels["script"]] += int(count)
    hand_overs = values(metrics, "mediator_deliveries_accepted_total")
    accepted = sum(count for labels, count in hand_overs if labels["repeat"] == Repeat.NEW)
    return Counts(at=at, accepted=int(accepted), succeeded=succeeded, failed=failed)


def values(metrics: Metrics, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """The labels and the value of every series of that name."""
    for family in metrics.registry.restricted_registry([name]).collect():
        for sample in family.samples:
            if sample.name == name:
                yield sample.labels, sample.value


@dataclass(kw_only=True, slots=True)
class Recent:
    """Remembers the counts of the last `WINDOW`."""

    began: datetime | None = None
    """when it began to; None before that"""
    _past: deque[Counts] = field(default_factory=deque)

    def take(self, counts: Counts) -> None:
        """Remember these, and forget what is older than the window."""
        self.began = self.began or counts.at
        self._past.append(counts)
        while len(self._past) > 1 and self._past[1].at <= counts.at - WINDOW:
            self._past.popleft()

    def before(self, now: Counts) -> Counts:
        """What was counted a window ago, or when it all began."""
        return self._past[0] if self._past else now

    @contextmanager
    def keeping(self, look: Callable[[], Counts]) -> Iterator[None]:
        """Take the counts at once, and then every `EVERY`."""
        looking = asyncio.create_task(self._keep(look), name="what is recent")
        try:
            yield
        finally:
            looking.cancel()

    async def _keep(self, look: Callable[[], Counts]) -> None:
        while True:
            self.take(look())
            await asyncio.sleep(EVERY.total_seconds())
