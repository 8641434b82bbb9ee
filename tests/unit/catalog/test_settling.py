"""A file is read when it has been left alone for a moment, and no sooner."""

from __future__ import annotations

import pytest

from mediator.catalog.files import Fingerprint, Settling


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
def settling(clock: Clock) -> Settling:
    return Settling(0.3, monotonic=clock, wall=clock)


def test_at_the_first_look_old_files_are_whole_and_fresh_ones_are_not(
    settling: Settling, clock: Clock
) -> None:
    files = {"old": state(changed=900), "fresh": state(changed=999.9)}
    assert settling.look(files) == {"fresh"}
    clock.seconds += 0.31
    assert settling.look(files) == set()


def test_a_file_from_the_future_settles_too(settling: Settling, clock: Clock) -> None:
    files = {"a": state(changed=5000)}
    assert settling.look(files) == {"a"}
    clock.seconds += 0.31
    assert settling.look(files) == set()


def test_a_change_counts_when_it_was_the_last_for_a_moment(
    settling: Settling, clock: Clock
) -> None:
    settling.look({})
    for size in range(5):
        assert settling.look({"a": state(size=size)}) == {"a"}
        clock.seconds += 0.2
    assert settling.look({"a": state(size=4)}) == {"a"}
    clock.seconds += 0.2
    assert settling.look({"a": state(size=4)}) == set()


def test_times_that_the_file_system_tells_count_only_at_the_first_look(
    settling: Settling, clock: Clock
) -> None:
    settling.look({})
    clock.seconds += 1
    assert settling.look({"a": state(changed=3)}) == {"a"}


def test_absence_must_last_too(settling: Settling, clock: Clock) -> None:
    settling.look({"a": state()})
    assert settling.look({}) == {"a"}
    clock.seconds += 0.31
    assert settling.look({}) == set()
    assert settling.look({"a": state()}) == {"a"}
