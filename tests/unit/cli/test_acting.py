"""Whether somebody is asked before something is done to many deliveries."""

from __future__ import annotations

import sys

import pytest
import typer

from mediator.cli import deliveries
from mediator.cli.deliveries import CANCEL, RETRY
from mediator.cli.failures import FAILED, USAGE, Failure


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """At a terminal; what was asked, and the answer is no."""
    questions: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        questions.append(question)
        return False

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", confirm)
    return questions


def test_a_person_is_told_how_many_and_may_say_no(asked: list[str]) -> None:
    with pytest.raises(Failure, match="nothing was done") as told:
        deliveries._confirm(RETRY, 312, "dead", yes=False)
    assert told.value.exit_code == FAILED
    assert asked == ["retry 312 dead deliveries?"]


def test_who_said_yes_before_is_not_asked(asked: list[str]) -> None:
    deliveries._confirm(CANCEL, 312, "pending", yes=True)
    deliveries._confirm(CANCEL, 0, "pending", yes=False)
    assert asked == []


def test_where_nobody_can_be_asked_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(Failure, match="cancel 1 pending delivery; --yes") as told:
        deliveries._confirm(CANCEL, 1, "pending", yes=False)
    assert told.value.exit_code == USAGE


def test_many_are_done_in_groups_in_their_order() -> None:
    ids = [str(number) for number in range(40)]
    chunks = list(deliveries._chunks(ids))
    assert [len(chunk) for chunk in chunks] == [16, 16, 8]
    assert [name for chunk in chunks for name in chunk] == ids
