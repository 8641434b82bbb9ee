"""Rectangles stay in their charts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mediator.model.delivery import Attempt, Outcome, State
from mediator.web.console.charts import Bar, stacked, timeline
from tests.support.store import SECOND, START

HEIGHT, WIDTH = 100.0, 400.0


def inside(bars: list[Bar]) -> bool:
    return all(
        bar.x >= 0
        and bar.y >= 0
        and bar.x + bar.width <= WIDTH + 0.02
        and bar.y + bar.height <= HEIGHT + 0.02
        and bar.width > 0
        and bar.height > 0
        for bar in bars
    )


def test_the_highest_column_fills_the_chart_and_nothing_is_no_bar() -> None:
    columns = [{State.SUCCEEDED: 6, State.DEAD: 2}, {}, {State.SUCCEEDED: 4}]
    bars = stacked(columns, width=WIDTH, height=HEIGHT, gap=2.0)
    assert [(bar.tone, bar.y, bar.height) for bar in bars] == [
        ("bad", 75.0, 25.0),
        ("good", 0.0, 75.0),
        ("good", 50.0, 50.0),
    ]
    assert inside(bars)


def test_one_failure_among_a_million_is_seen() -> None:
    bars = stacked([{State.SUCCEEDED: 10**6, State.DEAD: 1}], width=WIDTH, height=HEIGHT, gap=2.0)
    assert [(bar.tone, bar.height) for bar in bars] == [("bad", 2.0), ("good", 98.0)]


@pytest.mark.parametrize("columns", [[], [{}], [{}] * 48])
def test_a_chart_of_nothing_is_empty(columns: list[dict[State, int]]) -> None:
    assert stacked(columns, width=WIDTH, height=HEIGHT, gap=2.0) == []


def attempt(number: int, begin: float, end: float | None, outcome: Outcome | None) -> Attempt:
    return Attempt(
        number=number,
        started=START + begin * SECOND,
        ended=None if end is None else START + end * SECOND,
        outcome=outcome,
    )


def test_attempts_lie_where_they_ran() -> None:
    attempts = [attempt(1, 0, 1, Outcome.FAILED), attempt(2, 3, 4, Outcome.OK)]
    bars = timeline(attempts, begin=START, now=START, width=WIDTH, height=HEIGHT)
    assert [(bar.x, bar.width, bar.tone) for bar in bars] == [
        (0.0, 100.0, "bad"),
        (300.0, 100.0, "good"),
    ]


@pytest.mark.parametrize(
    "now",
    [START, START - timedelta(days=1), START + timedelta(days=300)],
    ids=["now", "a clock set back", "much later"],
)
def test_one_that_runs_reaches_to_now_whatever_the_clock_says(now: object) -> None:
    attempts = [attempt(1, 0, 0, Outcome.FAILED), attempt(2, 5, None, None)]
    bars = timeline(attempts, begin=START, now=now, width=WIDTH, height=HEIGHT)  # type: ignore[arg-type]
    assert [bar.tone for bar in bars] == ["bad", "busy"]
    assert inside(bars)
