"""What goes into a column comes out of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from mediator.model.delivery import State
from mediator.storage.tables import EnumText, Instant, Json, SafeText

DIALECT = sqlite.dialect()
instants = st.datetimes(timezones=st.just(UTC))


@given(instants)
def test_an_instant_keeps_its_microseconds(instant: datetime) -> None:
    column = Instant()
    kept = column.process_bind_param(instant, DIALECT)
    assert column.process_result_value(kept, DIALECT) == instant


@given(instants, instants)
def test_instants_sort_as_numbers(one: datetime, other: datetime) -> None:
    column = Instant()
    numbers = [column.process_bind_param(instant, DIALECT) for instant in (one, other)]
    assert None not in numbers
    assert (one < other) == (numbers[0] < numbers[1])  # type: ignore[operator]


def test_an_instant_is_the_same_in_every_zone() -> None:
    column = Instant()
    there = datetime.fromisoformat("2024-03-31T03:30:00.000001+02:00")
    kept = column.process_bind_param(there, DIALECT)
    assert kept == column.process_bind_param(there.astimezone(UTC), DIALECT)
    assert column.process_result_value(kept, DIALECT) == there - timedelta(0)


any_text = st.text(st.characters(exclude_categories=[]))


@given(st.lists(any_text))
def test_arguments_survive_as_ascii_with_lone_surrogates(arguments: list[str]) -> None:
    column = Json()
    kept = column.process_bind_param(arguments, DIALECT)
    assert kept.isascii()
    assert "\0" not in kept
    assert column.process_result_value(kept, DIALECT) == arguments


@given(any_text)
def test_a_sentence_can_always_be_kept(text: str) -> None:
    kept = SafeText().process_bind_param(text, DIALECT)
    assert kept is not None
    kept.encode()
    assert "\0" not in kept


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_proper_sentence_is_kept_as_it_is(text: str) -> None:
    assert SafeText().process_bind_param(text, DIALECT) == text


def test_words_are_read_back_as_members() -> None:
    column = EnumText(State)
    assert column.process_bind_param(State.DEAD, DIALECT) == "dead"
    assert column.process_result_value("dead", DIALECT) is State.DEAD
    assert column.process_result_value(None, DIALECT) is None
