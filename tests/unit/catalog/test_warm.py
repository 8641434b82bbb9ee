"""Which Python runs a script, for runners that keep one ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Script
from mediator.settings.schema import Settings
from tests.support.catalog import put, settings_in

POLICY = '# /// script\n# [tool.mediator]\n# runner = "warm"\n# preload = ["a.b"]\n# ///\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "scripts").mkdir()
    return settings_in(tmp_path)


def loaded(settings: Settings, text: str) -> Script:
    put(settings.scripts.directory, "a", text)
    return ScriptsDirectory(settings=settings).load().scripts["a"]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        pytest.param("#!/usr/bin/env python3", ("python3",), id="env"),
        pytest.param("#!/usr/bin/python3 -IS", ("/usr/bin/python3", "-IS"), id="options"),
        pytest.param("#!/bin/sh", (), id="no Python"),
    ],
)
def test_it_is_what_the_first_line_names(
    settings: Settings, line: str, command: tuple[str, ...]
) -> None:
    assert loaded(settings, f"{line}\n").command == command


def test_a_warm_script_without_python_is_warned_of(settings: Settings) -> None:
    script = loaded(settings, f"#!/bin/sh\n{POLICY}")
    assert script.ready
    assert "runs no Python" in script.warning


def test_a_warm_python_script_is_fine(settings: Settings) -> None:
    script = loaded(settings, f"#!/usr/bin/env python3\n{POLICY}")
    assert (script.problem, script.warning) == ("", "")
    assert script.policy.preload == ("a.b",)


@pytest.mark.parametrize("name", ["a-b", "", "a.", ".a", "a b", "1a", "a;b", "a..b"])
def test_what_is_no_name_of_a_module_is_refused(settings: Settings, name: str) -> None:
    script = loaded(settings, f"#!/usr/bin/env python3\n{POLICY.replace('a.b', name)}")
    assert "preload" in script.problem
