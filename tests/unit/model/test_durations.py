"""Durations and sizes as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mediator.model.durations import (
    Duration,
    PositiveDuration,
    Size,
    format_duration,
    parse_duration,
    parse_size,
)

_TEN_YEARS_OF_MILLISECONDS = 10 * 365 * 86_400_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("200ms", 0.2, id="milliseconds"),
        pytest.param("2s", 2, id="seconds"),
        pytest.param("5m", 300, id="minutes"),
        pytest.param("24h", 86_400, id="hours"),
        pytest.param("7d", 604_800, id="days"),
        pytest.param("1m30s", 90, id="two parts"),
        pytest.param("1.5s", 1.5, id="a fraction"),
        pytest.param("0s", 0, id="nothing"),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "5 m", "-5s", "5M", "5s ", "1:30", "٣s", "s", 5, None, True, ["5s"]],
    ids=repr,
)
def test_what_is_no_duration_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 200ms, 2s, 5m or 24h"):
        parse_duration(text)


def test_a_duration_beyond_all_measure_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="is longer than a duration can be"):
        parse_duration("9" * 40 + "d")


@given(st.integers(min_value=0, max_value=_TEN_YEARS_OF_MILLISECONDS))
def test_a_duration_survives_being_written_and_read(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (90, "90s"), (300, "5m"), (86_400, "1d"), (0.25, "250ms")],
    ids=str,
)
def test_a_duration_is_written_in_the_largest_exact_unit(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param(4096, 4096, id="a number"),
        pytest.param("4096", 4096, id="a number from the environment"),
        pytest.param("64KiB", 65_536, id="kibibytes"),
        pytest.param("1.5MiB", 1_572_864, id="a fraction"),
        pytest.param("10 MB", 10_000_000, id="with a space"),
    ],
)
def test_a_size_is_read(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1 mib", "-1B", "1TiBx", True, None, 1.5], ids=repr)
def test_what_is_no_size_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size such as 4096, 64KiB or 1MiB"):
        parse_size(text)


def test_the_fields_have_lower_bounds() -> None:
    assert TypeAdapter(Duration).validate_python("0s") == timedelta(0)
    with pytest.raises(ValidationError):
        TypeAdapter(PositiveDuration).validate_python("0s")
    with pytest.raises(ValidationError):
        TypeAdapter(Size).validate_python(0)
