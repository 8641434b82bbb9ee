"""Deliveries as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import RenderableType

from mediator.cli.delivery_output import listing, stacked, whole
from mediator.cli.output import show

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ID = "019ac3f2-7d1e-7c44-9d0b-2f6a5e8b1c3d"


@pytest.fixture
def delivery() -> dict[str, Any]:
    return {
        "id": ID,
        "script": "notify.py",
        "event": "ADVANCE",
        "arguments": ["one", "two words", "\x1b"],
        "state": "dead",
        "interactive": False,
        "ticket": {
            "id": "4711",
            "subject": "[red]hi[/red]\x1b[2J\nnext",
            "priority": None,
            "step": "Review",
            "requester": "a.meyer",
        },
        "key": "securechange",
        "received": "2026-06-30T10:00:00.123456Z",
        "due": None,
        "ended": "2026-06-30T10:00:01Z",
        "attempts_made": 2,
        "last_error": "ended with exit code 3",
        "attempts": [
            {
                "number": 1,
                "started": "2026-06-30T10:00:00Z",
                "ended": "2026-06-30T10:00:01Z",
                "outcome": "failed",
                "exit_code": 3,
                "signal": None,
                "reason": "ended with exit code 3",
                "stdout": "first\n\x1b[31msecond[/bold]\n",
                "stdout_bytes": 25,
                "stderr": "",
                "stderr_bytes": 0,
            },
            {
                "number": 2,
                "started": "2026-06-30T10:00:03Z",
                "ended": None,
                "outcome": None,
                "exit_code": None,
                "signal": None,
                "reason": "",
                "stdout": "",
                "stdout_bytes": 0,
                "stderr": None,
                "stderr_bytes": None,
            },
        ],
    }


def printed(things: Iterator[RenderableType], capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(*things)
    return capsys.readouterr().out.splitlines()


def test_a_delivery_is_one_line_whatever_its_subject_holds(
    delivery: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    header, line = printed(listing([delivery], now=NOW), capsys)
    assert header.startswith("ID ")
    assert line.startswith(ID)
    assert r"[red]hi[/red]\x1b[2J\nnext" in line
    assert line.endswith("2      ended with exit code 3")


def test_a_delivery_that_succeeded_shows_no_old_error(
    delivery: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    delivery["state"] = "succeeded"
    for form in (listing, stacked):
        assert "exit code" not in "\n".join(printed(form([delivery], now=NOW), capsys))


def test_a_narrow_terminal_gets_lines_below_each_other(
    delivery: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = printed(stacked([delivery], now=NOW), capsys)
    assert first.startswith(ID)
    assert first.endswith("dead")
    assert second == r"  notify.py  ADVANCE  4711  [red]hi[/red]\x1b[2J\nnext"
    assert third == "  2 tried: ended with exit code 3"


def test_a_whole_delivery_shows_its_attempts_and_what_they_printed(
    delivery: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(whole(delivery), capsys)
    assert f"delivery          {ID}" in lines
    assert r"arguments         one 'two words' '\x1b'" in lines
    assert "attempt 1: failed, exit code 3" in lines
    assert lines[lines.index("stdout, 25 bytes:") + 1 :][:2] == ["first", r"\x1b[31msecond[/bold]"]
    assert "attempt 2: running" in lines
    assert not any(line.startswith("ticket priority") for line in lines)
