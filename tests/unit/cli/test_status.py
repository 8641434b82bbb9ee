"""What `mediator status` shows of a document, whatever is in it."""

from __future__ import annotations

from typing import Any

import pytest

from mediator.cli.output import show
from mediator.cli.status import duration, glance, size

STATUS: dict[str, Any] = {
    "version": "1",
    "ready": False,
    "problems": {"store": "the disk is \x1b[2Jfull"},
    "uptime_seconds": 3.2,
    "pending": None,
    "running": None,
    "dead": None,
    "oldest_pending_seconds": None,
    "free_bytes": None,
    "slots": {"trigger": {"running": 0, "slots": 8}},
    "recent": {"seconds": 0.0, "accepted": 0, "attempts": 0, "failed": 0},
    "scripts": [
        {
            "name": "[red]a\u202e.py",
            "ready": True,
            "problem": "",
            "succeeded": 1,
            "failed": 0,
            "last_dead": {
                "delivery": "d",
                "ended": "2020-01-31T12:00:00Z",
                "reason": "x\ny",
            },
        }
    ],
}


def shown(capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    show(*glance({**STATUS, **changes}, "http://here"))
    return capsys.readouterr().out


def test_what_strangers_wrote_does_nothing_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys)
    assert text.replace("\n", "").isprintable()
    assert "[red]a\\u202e.py" in text
    assert "x\\ny" in text
    assert "the disk is \\x1b[2Jfull" in text


def test_a_store_that_is_away_is_told_and_the_rest_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys)
    assert "unknown: the store is away" in text
    assert "trigger 0 of 8" in text


def test_the_oldest_and_the_rate_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(
        capsys,
        pending=3,
        running=0,
        dead=2,
        oldest_pending_seconds=75.0,
        recent={"seconds": 300.0, "accepted": 50, "attempts": 40, "failed": 1},
    )
    assert "3 pending (the oldest for 1m 15s), 0 running, 2 dead" in text
    assert "50 accepted (10.0 a minute), 40 attempts, 1 failed, in 5m 0s" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m 0s"),
        (3725, "1h 2m"),
        (90_000, "1d 1h"),
        (86_400, "1d 0h"),
    ],
)
def test_durations_have_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B free"), (1536, "1.5 KiB free"), (2**40 * 3000, "3000.0 TiB free")],
)
def test_sizes_have_the_unit_that_fits(count: int, words: str) -> None:
    assert size(count) == words
