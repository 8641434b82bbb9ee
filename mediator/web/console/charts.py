"""Charts: how many deliveries ended when, and where the rectangles of small charts go.

Templates draw them, style sheets colour them. Every chart is wide and high in units of its own
(`viewBox`), and has a text or a table beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web

from mediator.clock import Clock
from mediator.model.delivery import Attempt, Delivery, State
from mediator.storage.interface import DeliveryStore
from mediator.web.console.rendering import TONES
from mediator.web.ttl_cache import TtlCache

_LEAST = 2.0
"""Height or width of something that is there but very small."""
STEP = timedelta(minutes=30)
STEPS = 48
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATE = timedelta(minutes=2)
"""An end is recorded no later than that after it happened."""
_FRESH = timedelta(seconds=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    """the class that colours it"""


def stacked(
    columns: Sequence[Mapping[State, int]], *, width: float, height: float, gap: float
) -> list[Bar]:
    """A column for each, states above one another, the highest as high as the chart.

    What is dead stands at the bottom, and is seen however few they are.
    """
    most = max((sum(column.values()) for column in columns), default=0)
    step = width / max(len(columns), 1)
    bars = []
    for number, column in enumerate(columns):
        top = height
        for state in (State.DEAD, State.CANCELLED, State.SUCCEEDED):
            if count := column.get(state, 0):
                high = min(max(count / most * height, _LEAST), top)
                top -= high
                bars.append(_bar(number * step, top, step - gap, high, TONES[state]))
    return bars


def sparkline(deliveries: Sequence[Delivery], *, room: int, height: float) -> list[Bar]:
    """The latest on the right. What is dead is twice as high as what succeeded."""
    bars = []
    for number, delivery in enumerate(deliveries):
        high = height if delivery.state is State.DEAD else height / 2
        x = (room - 1 - number) * 4.0
        bars.append(_bar(x, height - high, 3.0, high, TONES[delivery.state]))
    return bars


def timeline(
    attempts: Sequence[Attempt], *, begin: datetime, now: datetime, width: float, height: float
) -> list[Bar]:
    """When each attempt ran, from `begin` on; one that runs reaches to now."""
    end = max((attempt.ended or now for attempt in attempts), default=now)
    whole = max((end - begin) / timedelta(seconds=1), 1e-3)

    def place(time: datetime) -> float:
        return min(max((time - begin) / timedelta(seconds=1) / whole, 0.0), 1.0) * width

    bars = []
    for attempt in attempts:
        x = min(place(attempt.started), width - _LEAST)
        wide = max(place(attempt.ended or now) - x, _LEAST)
        tone = "busy" if attempt.outcome is None else TONES[attempt.outcome]
        bars.append(_bar(x, 0.0, wide, height, tone))
    return bars


def _bar(x: float, y: float, width: float, height: float, tone: str) -> Bar:
    parts = (round(part, 2) for part in (x, y, width, height))
    x, y, width, height = parts
    return Bar(x=x, y=y, width=width, height=height, tone=tone)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A stretch of time, and what ended in it."""

    begin: datetime
    counts: Counter[State]


class Throughput:
    """Counts how many deliveries ended in each half hour of the last day; one for all who look."""

    def __init__(self, store: DeliveryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._past: dict[datetime, Counter[State]] = {}
        self._slots = TtlCache(self._count, clock)

    async def slots(self) -> list[Slot]:
        """The last day, oldest first; the last slot is the one that time is in."""
        return await self._slots.get(_FRESH)

    def __len__(self) -> int:
        """Slots that are remembered, since they cannot change any more."""
        return len(self._past)

    async def _count(self) -> list[Slot]:
        now = self._clock.now()
        end = now - (now - _EPOCH) % STEP + STEP
        begins = [end - STEP * n for n in range(STEPS, 0, -1)]
        missing = [begin for begin in begins if begin not in self._past]
        since = missing[0]
        found = await self._store.ends(since=since, until=end, step=STEP)
        counts: dict[datetime, Counter[State]] = {begin: Counter() for begin in missing}
        for (step, state), count in found.items():
            begin = since + STEP * step
            if begin in counts:
                counts[begin][state] = count
        counts |= {begin: seen for begin, seen in self._past.items() if begin in begins}
        self._past = {b: seen for b, seen in counts.items() if b + STEP + _LATE < now}
        return [Slot(begin=begin, counts=counts[begin]) for begin in begins]


THROUGHPUT = web.AppKey("throughput", Throughput)
