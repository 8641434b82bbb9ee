"""What was taken and done lately is the difference of counters, over a bounded time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from mediator.metrics import Metrics
from mediator.web.recent import EVERY, WINDOW, Counts, Recent, counted

START = datetime(2026, 1, 31, tzinfo=UTC)


def counts(minutes: float) -> Counts:
    at = START + timedelta(minutes=minutes)
    return Counts(at=at, accepted=int(minutes), succeeded=Counter(), failed=Counter())


def test_new_deliveries_and_attempts_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()
    for repeat, times in (("new", 5), ("duplicate", 7), ("resent", 7)):
        metrics.intake._accepted.labels("a.py", repeat).inc(times)
    for script, outcome, times in (
        ("a.py", "ok", 3),
        ("a.py", "failed", 1),
        ("a.py", "timeout", 1),
        ("a.py", "cancelled", 9),
        ("b.py", "lost", 2),
    ):
        metrics.attempts._attempts.labels(script, outcome, "none").inc(times)
    found = counted(metrics, START)
    assert found.accepted == 5
    assert found.succeeded == {"a.py": 3}
    assert found.failed == {"a.py": 2, "b.py": 2}


def test_what_was_before_is_a_window_ago_at_most_and_little_is_held() -> None:
    recent = Recent()
    steps = int(3 * WINDOW / EVERY)
    for step in range(steps + 1):
        recent.take(counts(step * EVERY / timedelta(minutes=1)))
    now = counts(15)
    assert now.at - recent.before(now).at == WINDOW
    assert recent.began == START
    assert len(recent._past) == WINDOW / EVERY + 1


def test_before_the_first_look_nothing_happened() -> None:
    now = counts(3)
    assert Recent().before(now) is now
