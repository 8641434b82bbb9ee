"""Whether somebody is asked before something is done to many deliveries."""

from __future__ import annotations

import pytest

from mediator.cli.deliveries import CANCEL, RETRY, chunks, confirm
from mediator.cli.failures import FAILED, USAGE, Failure


class Person:
    """Says no to whatever is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, question: str) -> bool:
        self.asked.append(question)
        return False


def test_a_person_is_told_how_many_and_may_say_no() -> None:
    person = Person()
    with pytest.raises(Failure, match="nothing was done") as told:
        confirm(RETRY, 312, "dead", yes=False, ask=person)
    assert told.value.exit_code == FAILED
    assert person.asked == ["retry 312 dead deliveries?"]


def test_who_said_yes_before_is_not_asked() -> None:
    person = Person()
    confirm(CANCEL, 312, "pending", yes=True, ask=person)
    confirm(CANCEL, 0, "pending", yes=False, ask=person)
    assert person.asked == []


def test_where_nobody_can_be_asked_nothing_is_done() -> None:
    with pytest.raises(Failure, match="cancel 1 pending delivery; --yes") as told:
        confirm(CANCEL, 1, "pending", yes=False, ask=None)
    assert told.value.exit_code == USAGE


def test_many_are_done_in_groups_in_their_order() -> None:
    ids = [str(number) for number in range(40)]
    groups = list(chunks(ids))
    assert [len(group) for group in groups] == [16, 16, 8]
    assert [name for group in groups for name in group] == ids
