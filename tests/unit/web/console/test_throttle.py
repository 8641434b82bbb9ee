"""Guessing is slowed down, and only for who guesses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mediator.web.console.auth import MOST, WINDOW, Throttle

NOW = datetime(2026, 2, 28, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def fail(throttle: Throttle, address: str, *, times: int = MOST) -> None:
    for _ in range(times):
        throttle.failed(address, now=NOW)


def test_some_mistakes_cost_nothing() -> None:
    throttle = Throttle()
    fail(throttle, "a", times=MOST - 1)
    assert throttle.wait("a", now=NOW) == 0


def test_many_shut_one_address_out_for_a_while() -> None:
    throttle = Throttle()
    fail(throttle, "a")
    assert 0 < throttle.wait("a", now=NOW + SECOND) <= WINDOW.total_seconds()
    assert throttle.wait("b", now=NOW + SECOND) == 0
    assert throttle.wait("a", now=NOW + WINDOW) == 0


def test_the_count_begins_anew_after_a_while() -> None:
    throttle = Throttle()
    fail(throttle, "a")
    throttle.failed("a", now=NOW + WINDOW)
    assert throttle.wait("a", now=NOW + WINDOW) == 0


def test_a_clock_that_is_set_back_shuts_nobody_out() -> None:
    throttle = Throttle()
    fail(throttle, "a")
    assert throttle.wait("a", now=NOW - timedelta(days=1)) == 0


def test_its_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(5000):
        throttle.failed(f"address-{number}", now=NOW)
    assert len(throttle._failures) == 1000
