"""Logs tell what happened, and never what a ticket or a secret says."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from mediator import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The configuration is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def crash(ticket: str) -> None:
    if ticket:
        raise ValueError("it broke \x1b[0m")


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
@pytest.mark.parametrize("library", [True, False], ids=["a library", "ours"])
def test_a_traceback_shows_where_but_no_values(
    capsys: pytest.CaptureFixture[str], *, as_json: bool, library: bool
) -> None:
    logs.configure(level="info", as_json=as_json)
    secret = "s" * 40
    try:
        crash(f"ticket {secret}")
    except ValueError:
        if library:
            logging.getLogger("library").exception("broken")
        else:
            structlog.get_logger().exception("broken")
    written = capsys.readouterr().err
    assert "it broke" in written
    assert "test_logs.py" in written
    assert secret not in written


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", as_json=True)
    structlog.get_logger().info("told", script='evil"\n{}', n=1)
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["script"], told["n"]) == ("told", 'evil"\n{}', 1)
    assert told["level"] == "info"
    assert told["timestamp"].endswith("Z")


@pytest.mark.parametrize("library", [True, False], ids=["a library", "ours"])
def test_a_log_that_cannot_be_written_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch, *, library: bool
) -> None:
    with contextlib.suppress(OSError), Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        logs.configure(level="info", as_json=True)
        told = logging.getLogger("library") if library else structlog.get_logger()
        for _ in range(1000):  # more than any buffer holds
            told.warning("a line that is lost")
        with pytest.raises(OSError, match="No space left"):
            full.write("as everybody else hears\n")


def test_no_value_makes_a_line_of_its_own_on_a_console(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", as_json=False)
    structlog.get_logger().warning("refused", script="evil\n2026-01-01 [info] all is well")
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
@pytest.mark.parametrize("library", [True, False], ids=["a library", "ours"])
def test_no_value_does_anything_to_a_terminal_or_a_shipper(
    capsys: pytest.CaptureFixture[str], *, as_json: bool, library: bool
) -> None:
    logs.configure(level="info", as_json=as_json)
    evil = "evil\x1b[2J\x9b1m\u202e\u2028\x00\r\n\udcff" + "x" * 100_000
    try:
        crash(evil)
    except ValueError:
        if library:
            logging.getLogger("library").exception(evil)
        else:
            structlog.get_logger().exception("broken", script=evil, parts=[evil[:20]])
    written = capsys.readouterr().err
    assert written.replace("\n", "").isprintable()
    assert len(written) < 10_000
    if as_json:
        (line,) = written.splitlines()
        assert json.loads(line)["level"] == "error"


def test_what_matters_less_than_the_level_is_not_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="warning", as_json=True)
    structlog.get_logger().info("small talk")
    logging.getLogger("library").info("small talk")
    assert capsys.readouterr().err == ""
