"""Scripts that run in a cluster: what is asked of them here, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import EnvironmentState, Script
from mediator.settings.schema import Settings
from tests.support.catalog import put, settings_in

POLICY = '# /// script\n{more}# [tool.mediator]\n# runner = "kubernetes"\n{policy}# ///\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "scripts").mkdir()
    return settings_in(tmp_path)


def loaded(
    settings: Settings, cluster: dict[str, Any], *, more: str = "", policy: str = ""
) -> Script:
    section = type(settings.kubernetes).model_validate(cluster)
    text = f"#!/opt/only/in/the/image\n{POLICY.format(more=more, policy=policy)}"
    put(settings.scripts.directory, "a", text)
    changed = settings.model_copy(update={"kubernetes": section})
    return ScriptsDirectory(settings=changed).load().scripts["a"]


READY = {"enabled": True, "image": "mine"}


def test_its_interpreter_is_not_looked_for_on_this_machine(settings: Settings) -> None:
    script = loaded(settings, READY)
    assert (script.ready, script.warning, script.argv) == (True, "", (str(script.path),))


@pytest.mark.parametrize(
    ("cluster", "sentence"),
    [
        pytest.param({}, "set kubernetes.enabled in the settings", id="no cluster"),
        pytest.param({"enabled": True}, "nothing names an image", id="no image"),
    ],
)
def test_it_is_not_ready_without_a_cluster_or_an_image(
    settings: Settings, cluster: dict[str, Any], sentence: str
) -> None:
    assert sentence in loaded(settings, cluster).problem


def test_an_image_of_its_own_is_enough(settings: Settings) -> None:
    policy = '# kubernetes = { image = "mine" }\n'
    assert loaded(settings, {"enabled": True}, policy=policy).ready


def test_an_interactive_one_is_warned_of(settings: Settings) -> None:
    script = loaded(settings, READY, policy='# kind = "condition"\n')
    assert script.ready
    assert "a Job takes seconds to start" in script.warning


def test_its_packages_are_not_installed_and_that_is_said(settings: Settings) -> None:
    script = loaded(settings, READY, more='# dependencies = ["requests"]\n')
    assert script.environment is EnvironmentState.NONE
    assert "its image must have them" in script.warning
