"""When an attempt is lost: by silence that was watched, whatever the clocks say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mediator.dispatch.leases import LeaseExpiry
from mediator.storage.interface import Held
from tests.unit.dispatch.support import NOW

LEASE = timedelta(seconds=60)
EVERY = timedelta(seconds=15)
THEIRS = Held(delivery_id="d1", number=1, owner="there", lease=NOW)


def watch(*, alone: bool = False) -> LeaseExpiry:
    return LeaseExpiry(owner="here", alone=alone, lease=LEASE, every=EVERY)


def renewed(held: Held, seconds: float) -> Held:
    return replace(held, lease=NOW + timedelta(seconds=seconds))


def test_what_is_not_renewed_for_a_lease_is_lost() -> None:
    watching = watch()
    looks = [watching.lost([THEIRS], at=at) for at in (0, 15, 30, 45, 60)]
    assert looks == [[], [], [], [], [THEIRS]]


@pytest.mark.parametrize("by", [15, -7200, 7200], ids=["its clock", "set back", "set forward"])
def test_what_is_renewed_is_not_lost_whatever_the_clock_of_its_owner_says(by: float) -> None:
    watching = watch()
    for look in range(20):
        held = renewed(THEIRS, look * 15 + by)
        assert watching.lost([held], at=look * 15) == []


def test_a_lease_that_looks_long_over_is_not_lost_at_the_first_look() -> None:
    assert watch().lost([renewed(THEIRS, -(10**6))], at=10**6) == []


def test_time_in_which_nobody_looked_counts_as_one_look_at_most() -> None:
    """The store was away, or the machine stood still: the owner could not renew either."""
    watching = watch()
    assert watching.lost([THEIRS], at=0) == []
    assert watching.lost([THEIRS], at=3600) == []
    assert watching.lost([THEIRS], at=3615) == []


def test_looking_often_does_not_make_time_pass() -> None:
    watching = watch()
    assert not any(watching.lost([THEIRS], at=look / 100) for look in range(5000))


def test_another_attempt_of_the_same_delivery_begins_anew() -> None:
    watching = watch()
    for at in (0, 15, 30, 45):
        watching.lost([THEIRS], at=at)
    assert watching.lost([replace(THEIRS, number=2)], at=60) == []


def test_its_own_are_lost_in_the_same_way_when_they_were_left_behind() -> None:
    watching, own = watch(alone=True), replace(THEIRS, owner="here")
    looks = [watching.lost([own], at=at) for at in (0, 15, 30, 45, 60)]
    assert looks == [[], [], [], [], [own]]


def test_alone_what_somebody_else_held_is_lost_at_once() -> None:
    own = replace(THEIRS, owner="here")
    assert watch(alone=True).lost([THEIRS, own], at=0) == [THEIRS]
