"""The pages in docs/how-to/scripts, read for what can be run: examples, and how to try them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.mediator import REPOSITORY

PAGES = REPOSITORY / "docs" / "how-to" / "scripts"
_SCRIPT = re.compile(r"^```(?:python|bash) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Try:
    """A command of a page, and what the page says it prints on stdout."""

    script: str
    ticket: str
    event: str
    arguments: tuple[str, ...]
    prints: str

    @property
    def stdin(self) -> bytes:
        """What the command sends."""
        return (REPOSITORY / self.ticket).read_bytes() if self.ticket else b""

    @property
    def command(self) -> list[str]:
        """The words after `mediator`, with the ticket's path made absolute."""
        ticket = ["--ticket", str(REPOSITORY / self.ticket)] if self.ticket else []
        return ["run", self.script, *ticket, "--event", self.event, "--", *self.arguments]


def scripts_of(page: Path) -> dict[str, str]:
    """The scripts of a page by their file names, which follow the language."""
    return dict(_SCRIPT.findall(page.read_text()))


def tries_of(page: Path) -> list[Try]:
    """The commands of a page, in its order."""
    return [
        _read(command, prints)
        for block in _CONSOLE.findall(page.read_text())
        for command, prints in _COMMAND.findall(block)
    ]


def _read(command: str, prints: str) -> Try:
    words = iter(shlex.split(command))
    assert (next(words), next(words)) == ("mediator", "run"), command
    script = next(words)
    options, arguments = _options(words)
    assert set(options) <= {"--ticket", "--event"}, command
    return Try(
        script=script,
        ticket=options.get("--ticket", ""),
        event=options["--event"],
        arguments=arguments,
        prints=prints,
    )


def _options(words: Iterator[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    options = {}
    for word in words:
        if word == "--":
            break
        options[word] = next(words)
    return options, tuple(words)
