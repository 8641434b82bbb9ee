"""Text from strangers does nothing to a terminal, and nothing is lost in a pipe."""

from __future__ import annotations

import json

import pytest
from rich.text import Text

from mediator.cli.output import block, cell, say, show, show_json, table
from mediator.model.visible import visible

PEOPLE = "Zürich\u00a0東京 \U0001f600"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        pytest.param("\x1b[2J", r"\x1b[2J", id="escape sequence"),
        pytest.param("a\rb", r"a\rb", id="carriage return"),
        pytest.param("a\nb", r"a\nb", id="line feed"),
        pytest.param("\x9b31m", r"\x9b31m", id="one-byte introducer"),
        pytest.param("abc\u202exyz", r"abc\u202exyz", id="direction override"),
        pytest.param("a\u2028b", r"a\u2028b", id="line separator"),
        pytest.param("\udc80", r"\udc80", id="a byte that is not UTF-8"),
        pytest.param("\x00\x7f", r"\x00\x7f", id="NUL and delete"),
        pytest.param(PEOPLE, PEOPLE, id="people's text"),
    ],
)
def test_what_is_not_printable_is_shown_as_an_escape(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


def test_markup_in_a_subject_is_text() -> None:
    made = cell("[red]hi[/red]")
    assert made.plain == "[red]hi[/red]"
    assert made.spans == []


def test_a_block_keeps_its_lines_and_tabs_and_nothing_else() -> None:
    assert block("a\tb\nc\rd\x1b").plain == "a\tb\nc\\rd\\x1b"


def test_json_holds_every_character_and_shows_no_control_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = {"subject": "\x1b[1m \u202e \x9b \udc80 \U000e0001 é\n"}
    show_json(document)
    printed = capsys.readouterr().out
    assert json.loads(printed) == document
    assert visible(printed, keep="\n") == printed
    assert "é" in printed


def test_a_table_in_a_pipe_is_whole_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("ID", "SUBJECT", whole=("ID",), cut=("SUBJECT",))
    made.add_row(cell("i" * 36), cell("s" * 500, "red"))
    made.add_row(cell("j"), cell(""))
    show(made)
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["ID", "SUBJECT"]
    assert first == f"{'i' * 36}  {'s' * 500}"
    assert second == "j"


def test_a_long_line_in_a_pipe_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    show(Text("x" * 1000))
    assert capsys.readouterr().out == "x" * 1000 + "\n"


def test_what_is_said_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\ntwo\x1b")
    assert capsys.readouterr().err == "mediator: one\\ntwo\\x1b\n"
