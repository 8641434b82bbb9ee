"""Every command of the table can be called, helps, and says what the table says."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from mediator.cli.main import COMMANDS, LazyCommand, app

RUNNER = CliRunner()
PATHS = [
    *[[name] for name, _, _ in COMMANDS if name not in {"deliveries", "routes", "shim"}],
    *[["deliveries", verb] for verb in ("list", "show", "retry", "cancel")],
    ["routes", "explain"],
    ["shim", "bundle"],
]


@pytest.mark.parametrize(("name", "module", "summary"), COMMANDS, ids=[c[0] for c in COMMANDS])
def test_the_list_of_commands_says_what_the_command_says(
    name: str, module: str, summary: str
) -> None:
    command = LazyCommand(name, module=module, summary=summary).load()
    assert command.help.partition("\n")[0].startswith(summary.partition(",")[0].rstrip("."))


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_has_an_example_of_the_command(path: list[str]) -> None:
    result = RUNNER.invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert re.search(rf"Examples?:\s+mediator {' '.join(path[:1])}", result.output)
    assert f"Usage: mediator {' '.join(path)}" in result.output


def test_the_list_of_commands_names_them_all() -> None:
    result = RUNNER.invoke(app, ["--help"])
    assert result.exit_code == 0
    for name, _, summary in COMMANDS:
        assert re.search(rf"{name}\s+{re.escape(summary)}", result.output)
