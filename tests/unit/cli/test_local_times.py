"""Times as people read them, where they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mediator.cli.deliveries import as_instant
from mediator.cli.output import exact, short

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def two_hours_ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC-2")  # POSIX counts the other way
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("2026-06-30T23:30:00.9Z", "07-01 01:30:00", id="local, and this year"),
        pytest.param("2025-12-31T23:30:00Z", "01-01 01:30:00", id="this year only here"),
        pytest.param("2025-12-31T20:30:00Z", "2025-12-31 22:30", id="another year"),
        pytest.param(None, "-", id="never"),
    ],
)
def test_a_list_shows_short_local_times(text: str | None, shown: str) -> None:
    assert short(text, now=NOW) == shown


def test_a_whole_delivery_shows_exact_times() -> None:
    assert exact("2026-06-30T10:00:00.123456Z") == "2026-06-30 12:00:00.123+02:00"
    assert exact(None) == "-"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param("2026-06-30T10:00", "2026-06-30T10:00:00+02:00", id="local time"),
        pytest.param("2026-06-30", "2026-06-30T00:00:00+02:00", id="local midnight"),
        pytest.param("2026-06-30T10:00Z", "2026-06-30T12:00:00+02:00", id="with a zone"),
        pytest.param("2h", "2h", id="a duration"),
        pytest.param("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00+23:59", id="too early"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_times_are_sent_with_their_zone(given: str | None, sent: str | None) -> None:
    assert as_instant(given) == sent
