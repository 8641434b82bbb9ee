"""What was taken and done lately is counted over a bounded time, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mediator.metrics import Metrics
from mediator.metrics.recent import EVERY, WINDOW, Recent, RecentCounts
from mediator.model.delivery import Ended, Fate, Outcome, Repeat, State
from tests.support.store import new
from tests.unit.dispatch.support import NOW, delivery, policy


@dataclass
class Timer:
    """A steady clock that goes on when a test says so."""

    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def recent(timer: Timer) -> Recent:
    return Recent(now=timer)


def test_new_deliveries_and_attempts_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()
    for repeat, times in ((Repeat.NEW, 5), (Repeat.DUPLICATE, 7), (Repeat.RESENT, 7)):
        for _ in range(times):
            metrics.intake.accepted(new("a.py"), repeat, delivery_id="d")
    for script, outcome, times in (
        ("a.py", Outcome.OK, 3),
        ("a.py", Outcome.FAILED, 1),
        ("a.py", Outcome.TIMEOUT, 1),
        ("a.py", Outcome.CANCELLED, 9),
    ):
        for _ in range(times):
            metrics.attempts.attempted(
                delivery(script=script), Ended(outcome=outcome), policy=policy(), seconds=1.0
            )
    lost = Fate(
        id="d",
        ticket_id="7",
        script="b.py",
        event="",
        interactive=False,
        budget_start=NOW,
        state=State.PENDING,
        reason="its mediator stopped",
    )
    for _ in range(2):
        metrics.attempts.lost(lost)
    assert metrics.recent.succeeded == {"a.py": 3}
    assert metrics.recent.failed == {"a.py": 2, "b.py": 2}
    counts = metrics.recent.counts()
    assert (counts.accepted, counts.attempts, counts.failed) == (5, 7, 4)


def test_what_is_lately_is_a_window_ago_at_most_and_little_is_held(
    recent: Recent, timer: Timer
) -> None:
    for _ in range(int(3 * WINDOW / EVERY)):
        recent.accepted()
        timer.time += EVERY
    counts = recent.counts()
    assert (counts.seconds, counts.accepted) == (WINDOW, WINDOW / EVERY)
    assert counts.uptime == 3 * WINDOW
    assert len(recent) <= WINDOW / EVERY + 1


def test_before_the_window_is_full_it_is_the_time_since_the_start(
    recent: Recent, timer: Timer
) -> None:
    assert recent.counts() == RecentCounts(
        uptime=0.0, seconds=0.0, accepted=0, attempts=0, failed=0
    )
    timer.time += 3.5
    recent.accepted()
    timer.time += 60
    assert recent.counts() == RecentCounts(
        uptime=63.5, seconds=63.5, accepted=1, attempts=0, failed=0
    )


def test_what_happened_longer_ago_is_forgotten(recent: Recent, timer: Timer) -> None:
    recent.attempted("a.py", Outcome.FAILED)
    timer.time += WINDOW + EVERY - 0.5
    assert (recent.counts().failed, recent.counts().seconds) == (1, WINDOW + EVERY - 0.5)
    timer.time += 1
    assert (recent.counts().failed, recent.counts().seconds) == (0, WINDOW + 0.5)
    assert recent.failed == {"a.py": 1}, "since the start"
