"""What makes deliveries the same, and which ways lead from state to state."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediator.model.delivery import (
    ENDED,
    LEGAL,
    NewDelivery,
    State,
    TicketFields,
    Verdict,
    content_digest,
)

NOW = datetime(2024, 1, 1, tzinfo=UTC)
DELIVERY = NewDelivery(
    id="1",
    script="notify.py",
    event="CREATE",
    arguments=("a", "b"),
    variables={"SCW_EVENT": "CREATE"},
    body=b"<t/>",
    ticket=TicketFields(id="7"),
    received=NOW,
    key_id="k",
    idempotency_key="i",
    interactive=False,
)


@pytest.mark.parametrize(
    "change",
    [
        {"script": "other.py"},
        {"event": "CLOSE"},
        {"arguments": ("ab",)},
        {"arguments": ("b", "a")},
        {"arguments": ("a", "b", "")},
        {"arguments": ("a", "\udcff")},
        {"body": b"<t />"},
    ],
    ids=str,
)
def test_other_content_has_another_digest(change: dict[str, object]) -> None:
    assert dataclasses.replace(DELIVERY, **change).content != DELIVERY.content  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"id": "2"}, {"key_id": "x"}, {"idempotency_key": "x"}, {"ticket": TicketFields(id="8")}],
    ids=str,
)
def test_who_sent_it_and_how_it_was_read_is_no_content(change: dict[str, object]) -> None:
    assert dataclasses.replace(DELIVERY, **change).content == DELIVERY.content  # type: ignore[arg-type]


parts = st.lists(st.binary(max_size=4), max_size=4)


@given(parts, parts)
def test_no_two_lists_of_parts_look_alike(one: list[bytes], other: list[bytes]) -> None:
    assert (content_digest(*one) == content_digest(*other)) == (one == other)


def test_every_state_has_its_ways() -> None:
    assert set(LEGAL) == set(State)
    assert {state for state in State if state.ended} == ENDED


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_delivery_leaves_its_state_only_to_be_made_again(state: State) -> None:
    assert LEGAL[state] == {State.PENDING}


def test_no_delivery_ends_well_or_badly_without_an_attempt() -> None:
    assert LEGAL[State.PENDING].isdisjoint({State.SUCCEEDED, State.DEAD})


@pytest.mark.parametrize(
    ("state", "due"),
    [(State.RUNNING, None), (State.PENDING, None), (State.DEAD, NOW), (State.SUCCEEDED, NOW)],
    ids=["running", "pending without due", "dead with due", "succeeded with due"],
)
def test_a_verdict_that_no_delivery_can_follow_is_refused(
    state: State, due: datetime | None
) -> None:
    with pytest.raises(ValueError, match=r"cannot make|due time"):
        Verdict(state=state, due=due)


@pytest.mark.parametrize("state", sorted(LEGAL[State.RUNNING]))
def test_every_legal_end_of_an_attempt_is_a_verdict(state: State) -> None:
    assert Verdict(state=state, due=NOW if state is State.PENDING else None).state is state
