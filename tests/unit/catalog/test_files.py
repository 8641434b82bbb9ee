"""A file is read when it has been left alone for a moment, and no sooner."""

from __future__ import annotations

import pytest

from mediator.catalog.files import Debounce, Fingerprint


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def state(*, changed: float = 0.0, size: int = 1) -> Fingerprint:
    return Fingerprint(1, 1, size, 0, int(changed * 1e9))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def debounce(clock: Clock) -> Debounce:
    return Debounce(0.3, monotonic=clock, wall=clock)


def test_at_the_first_look_old_files_are_whole_and_fresh_ones_are_not(
    debounce: Debounce, clock: Clock
) -> None:
    files = {"old": state(changed=900), "fresh": state(changed=999.9)}
    assert debounce.recent(files) == {"fresh"}
    clock.seconds += 0.31
    assert debounce.recent(files) == set()


def test_a_file_from_the_future_settles_too(debounce: Debounce, clock: Clock) -> None:
    files = {"a": state(changed=5000)}
    assert debounce.recent(files) == {"a"}
    clock.seconds += 0.31
    assert debounce.recent(files) == set()


def test_a_change_counts_when_it_was_the_last_for_a_moment(
    debounce: Debounce, clock: Clock
) -> None:
    debounce.recent({})
    for size in range(5):
        assert debounce.recent({"a": state(size=size)}) == {"a"}
        clock.seconds += 0.2
    assert debounce.recent({"a": state(size=4)}) == {"a"}
    clock.seconds += 0.2
    assert debounce.recent({"a": state(size=4)}) == set()


def test_times_that_the_file_system_tells_count_only_at_the_first_look(
    debounce: Debounce, clock: Clock
) -> None:
    debounce.recent({})
    clock.seconds += 1
    assert debounce.recent({"a": state(changed=3)}) == {"a"}


def test_absence_must_last_too(debounce: Debounce, clock: Clock) -> None:
    debounce.recent({"a": state()})
    assert debounce.recent({}) == {"a"}
    clock.seconds += 0.31
    assert debounce.recent({}) == set()
    assert debounce.recent({"a": state()}) == {"a"}
