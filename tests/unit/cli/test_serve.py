"""How the daemon says that it is ready, and how it is told to log."""

from __future__ import annotations

import json
import sys

import pytest

from mediator.cli.logs import logs_as_json
from mediator.cli.serve import announce
from mediator.settings.schema import LogFormat

FIELDS = {"url": "http://127.0.0.1:8080", "pid": 7, "scripts": 2}


def test_a_program_reads_the_ready_line_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    announce(FIELDS)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"event": "ready", **FIELDS}


def test_a_person_reads_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    announce(FIELDS)
    assert capsys.readouterr().out == "mediator is ready at http://127.0.0.1:8080\n"


@pytest.mark.parametrize(
    ("terminal", "format_", "as_json"),
    [
        pytest.param(False, LogFormat.AUTO, True, id="auto, no terminal"),
        pytest.param(True, LogFormat.AUTO, False, id="auto, terminal"),
        pytest.param(True, LogFormat.JSON, True, id="json always"),
        pytest.param(False, LogFormat.CONSOLE, False, id="console always"),
    ],
)
def test_logs_are_json_where_no_person_watches(
    terminal: bool, format_: LogFormat, as_json: bool
) -> None:
    assert logs_as_json(format_, terminal=terminal) is as_json
