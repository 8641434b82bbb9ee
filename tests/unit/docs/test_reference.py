"""The pages of the reference name everything there is: commands, and what the API takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from mediator.cli.main import app
from mediator.web.app import description

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def commands(*above: str) -> Iterator[str]:
    """Every command that can be called, as the help tells."""
    told = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [*above, "--help"]).output
    below = re.findall(r"^\W+([a-z-]+)  +[A-Z]", told.partition(" Commands ")[2], re.MULTILINE)
    for name in below:
        yield from commands(*above, name)
    if not below:
        yield " ".join(["mediator", *above])


def named_commands() -> set[str]:
    """Of the first column: `mediator shim push`, `verify` names two commands."""
    named = set()
    for cell in re.findall(r"^\| (`mediator .*?`.*?) \|", page("cli.md"), re.MULTILINE):
        first, *others = (re.sub(r" [A-Z-].*", "", code) for code in re.findall("`(.+?)`", cell))
        named |= {first, *(f"{first.rpartition(' ')[0]} {other}" for other in others)}
    return named


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def test_the_page_of_the_command_line_has_every_command() -> None:
    assert named_commands() == set(commands())


def test_the_page_of_the_api_has_every_path() -> None:
    named = set(re.findall(r"(?:GET |POST |`)(/[^`?]*)", page("http-api.md")))
    named |= {f"/v1/deliveries/{{id}}{path}" for path in named if path.count("/") == 1}
    assert set(description()["paths"]) - named == set()
