"""What people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from markupsafe import Markup

from mediator.model.delivery import Outcome, State
from mediator.web.console.rendering import (
    SIGNS,
    TONES,
    ago,
    finalize,
    lasted,
    machine,
    moment,
    size,
)

NOW = datetime(2026, 2, 28, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (-5, "0 ms"),
        (0.0851, "85 ms"),
        (4.24, "4.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_length_of_time(seconds: float, text: str) -> None:
    assert lasted(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "now"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (7200, "2 h ago"),
        (200_000, "2 d ago"),
        (-5, "in 5 s"),
        (-90, "in 1 min"),
    ],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


def test_a_time_for_people_and_for_programs() -> None:
    assert moment(NOW) == "2026-02-28 09:30:00"
    assert machine(NOW) == "2026-02-28T09:30:00Z"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**20, "1.0 MiB")],
)
def test_a_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\x1b[31mb", "a\\x1b[31mb", id="a control character"),
        pytest.param("a\x00b", "a\\x00b", id="a NUL"),
        pytest.param("a\u202ecod.exe", "a\\u202ecod.exe", id="text turned round"),
        pytest.param("a\u2066b\u200bc", "a\\u2066b\\u200bc", id="invisible"),
        pytest.param("a\ud800b", "a\\ud800b", id="half a character"),
        pytest.param(
            "Größe 東京 \N{NO-BREAK SPACE}€", "Größe 東京 \N{NO-BREAK SPACE}€", id="harmless"
        ),
        pytest.param("a\n\tb", "a\n\tb", id="lines"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert finalize(text) == shown


def test_what_is_no_text_of_strangers_stays() -> None:
    assert finalize(None) == ""
    assert finalize(7) == 7
    assert finalize(Markup("<b>\u202e</b>")) == "<b>\u202e</b>"


def test_every_state_and_outcome_has_a_tone_and_every_state_a_sign() -> None:
    assert set(TONES) == {*State, *Outcome}
    assert set(SIGNS) == set(State)
    assert len(set(SIGNS.values())) == len(State)
