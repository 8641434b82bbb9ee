"""Writing for people and for programs: tables, JSON, and text from strangers.

What scripts print and what tickets say is hostile: a control character could rewrite the screen, a
direction mark could make one word look like another. So every character that is not printable is
shown as an escape, and nothing is read as rich's markup.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from mediator.model.visible import harmless, visible

_WIDE = 100_000
"""Columns of what is no terminal: nothing is cut or wrapped for `grep` and `awk`."""
_GAP = 2
"""Blanks between columns."""
_LEAST = 10
"""Columns that a text keeps however narrow the terminal is."""
_NOT_ASCII = re.compile(r"[^\n -~]")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def cell(text: object, style: str = "") -> Text:
    """One line that is shown as it is, whoever wrote it."""
    return Text(visible(str(text)), style=style)


def block(text: str) -> Text:
    """Many lines that are shown as they are; only line feeds and tabs keep their meaning."""
    return Text(visible(text, keep="\n\t"))


def narrow(*, below: int) -> bool:
    """Whether stdout is a terminal with fewer columns than that."""
    return sys.stdout.isatty() and Console().width < below


def table(*columns: str, whole: Sequence[str] = (), cut: Sequence[str] = ()) -> Table:
    """An empty table. Columns in `whole` are never cut; those in `cut` keep to one line."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for column in columns:
        if column in whole:
            made.add_column(column, no_wrap=True, overflow="ignore")
        elif column in cut:
            made.add_column(column, no_wrap=True, overflow="ellipsis")
        else:
            made.add_column(column, overflow="fold")
    return made


def fields(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Names and values, a line each."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def show(*things: RenderableType) -> None:
    """Print on stdout: in colours and to the width of a terminal, plain and whole elsewhere."""
    terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout, width=None if terminal else _WIDE, markup=False, highlight=False
    )
    with console.capture() as captured:
        for thing in things:
            if isinstance(thing, Table):
                _share(thing, console.width)
            console.print(thing, soft_wrap=isinstance(thing, Text))
    lines = captured.get().splitlines() if not terminal else [captured.get().removesuffix("\n")]
    for line in lines:
        print(line.rstrip() if not terminal else line)  # noqa: T201 - this is the output


def show_json(document: Any) -> None:
    """Print a document on stdout; no character in it does anything to a terminal."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    print(_NOT_ASCII.sub(_as_json, text))  # noqa: T201 - this is the output


def show_line(document: Any) -> None:
    """Print a document as one line on stdout, at once."""
    print(json.dumps(document), flush=True)  # noqa: T201 - this is the output


def write_streams(stdout: bytes, stderr: bytes) -> None:
    """Pass on what a script wrote, byte for byte."""
    for stream, content in ((sys.stdout, stdout), (sys.stderr, stderr)):
        stream.flush()
        stream.buffer.write(content)
        stream.flush()


def say(sentence: str) -> None:
    """Tell the person at the keyboard something, on stderr, as one line."""
    print(f"mediator: {visible(sentence)}", file=sys.stderr)  # noqa: T201 - the command's own voice


def _share(shown: Table, width: int) -> None:
    """Let the columns that may be cut share what the others leave; rich would cut all alike."""
    cut = [column for column in shown.columns if column.overflow == "ellipsis"]
    taken = sum(_GAP + _width(column) for column in shown.columns if column not in cut)
    for position, column in enumerate(cut):
        room = max(_LEAST, (width - taken) // (len(cut) - position) - _GAP)
        column.max_width = min(room, _width(column))
        taken += _GAP + column.max_width


def _width(column: Column) -> int:
    return max(cell_len(str(part)) for part in (column.header, *column.cells))


def _as_json(found: re.Match[str]) -> str:
    character = found[0]
    return character if harmless(character) else json.dumps(character)[1:-1]


def short(text: str | None, *, now: datetime) -> str:
    """Local date and time without the year where it is this one; `-` for None."""
    if text is None:
        return "-"
    time = datetime.fromisoformat(text).astimezone()
    form = "%m-%d %H:%M:%S" if time.year == now.astimezone().year else "%Y-%m-%d %H:%M"
    return time.strftime(form)


def exact(text: str | None) -> str:
    """Local time to the millisecond, with the time zone; `-` for None."""
    if text is None:
        return "-"
    return datetime.fromisoformat(text).astimezone().isoformat(sep=" ", timespec="milliseconds")
