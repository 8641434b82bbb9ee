"""What is read of a hand-over's query and preferences."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediator.errors import BadRequest
from mediator.web.request import Call, Preference, read_preference, read_query


def quoted(value: str) -> str:
    return "".join(f"%{byte:02X}" for byte in value.encode("utf-8", "surrogateescape"))


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(arguments=st.lists(TEXT), variable=TEXT)
def test_what_was_percent_encoded_comes_back(arguments: list[str], variable: str) -> None:
    pairs = [f"SCW_X={quoted(variable)}", *(f"arg={quoted(a)}" for a in arguments)]
    call = read_query("&".join(pairs))
    assert call == Call(event="", variables={"SCW_X": variable}, arguments=tuple(arguments))


@given(query=st.text(max_size=200))
def test_any_text_is_read_or_refused(query: str) -> None:
    try:
        call = read_query(query)
    except BadRequest:
        return
    assert all(name.startswith("SCW_") for name in call.variables)
    assert not any("\0" in text for text in (*call.arguments, *call.variables.values()))


@pytest.mark.parametrize(
    ("value", "preference"),
    [
        ("", Preference()),
        ("respond-async", Preference(respond_async=True)),
        ("Respond-Async", Preference(respond_async=True)),
        ("wait=10", Preference(wait=10)),
        ("wait = 10", Preference(wait=10)),
        ('wait="10"', Preference(wait=10)),
        ("respond-async, wait=10", Preference(respond_async=True, wait=10)),
        ("wait=1, wait=2", Preference(wait=1)),
        ("wait=ten", Preference()),
        ("wait=-1", Preference()),
        ("wait=9999999", Preference()),
        ("return=minimal, foo; bar", Preference()),
    ],
)
def test_preferences_are_read_and_others_ignored(value: str, preference: Preference) -> None:
    assert read_preference(value) == preference


def test_nobody_waits_longer_than_the_script_may_take() -> None:
    timeout = timedelta(seconds=30)
    assert Preference().patience(timeout) == timeout
    assert Preference(wait=5).patience(timeout) == timedelta(seconds=5)
    assert Preference(wait=500).patience(timeout) == timeout
