"""The documents say nothing that is not so, as far as a program can tell."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mediator.catalog.metadata import find_block, read_block, read_sidecar
from mediator.cli.main import app
from mediator.model.policy import StatedPolicy
from mediator.settings.load import read_environment
from mediator.settings.schema import Settings

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")],
)
CHART_PAGE = REPOSITORY / "docs" / "how-to" / "helm.md"
CHART_VALUES = yaml.safe_load((REPOSITORY / "helm" / "mediator" / "values.yaml").read_text())
SHIM = (REPOSITORY / "bash_shim" / "securechange-shim").read_text()
COMPOSE = (REPOSITORY / "deploy" / "compose.yaml").read_text()


def page(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


each_page = pytest.mark.parametrize("path", PAGES, ids=page)


def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "generate", REPOSITORY / "docs" / "generate.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


GENERATE = generator()


def test_the_generated_tables_are_fresh() -> None:
    stale = [page(path) for path, text in GENERATE.documents().items() if path.read_text() != text]
    assert stale == [], "run .venv/bin/python docs/generate.py"


def test_every_table_is_in_a_page() -> None:
    whole = "".join(path.read_text() for path in GENERATE.documents())
    for part in ("settings", "policies", "kinds", "metrics"):
        assert f"<!-- {part}: begin -->" in whole


@each_page
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        if anchor:
            assert anchor in set(anchors(found.read_text())), target


def anchors(text: str) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def commands(text: str) -> Iterator[list[str]]:
    """Commands of `mediator` in indented lines and in code spans."""
    lines = re.findall(r"^(?: {4,}|\t)(?:\S*/)?(mediator .*)$", text, re.MULTILINE)
    spans = re.findall(r"`(mediator [a-z][^`]*)`", text)
    for line in [*lines, *spans]:
        words = shlex.split(line, comments=True)
        if words[1].startswith("-") or words[1].isalpha() or "-" in words[1]:
            yield words


@each_page
def test_every_command_exists_with_its_options(path: Path) -> None:
    for words in commands(path.read_text()):
        names = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
        told = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [*names, "--help"])
        if told.exit_code != 0:  # the last word may be an argument
            told = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*names[:1], "--help"])
        assert told.exit_code == 0, f"{words}: {told.output}"
        for option in (word for word in words if word.startswith("--")):
            assert option.partition("=")[0] in told.output, f"{words}: no {option}"


def keys(path: Path | None = None) -> set[str]:
    """What a page may name: keys of the settings, and where the chart is described its values."""
    rows = [*GENERATE.settings_rows(Settings), *GENERATE.policy_rows()]
    named = {row[0].strip("`") for row in rows}
    named |= {key.rpartition(".")[0] for key in named} | set(StatedPolicy.model_fields)
    return named | values(CHART_VALUES) if path == CHART_PAGE else named


def values(tree: dict[str, Any], above: str = "") -> set[str]:
    """Every value of the chart."""
    below = [values(v, f"{above}{k}.") for k, v in tree.items() if isinstance(v, dict)]
    return {f"{above}{key}" for key in tree}.union(*below)


@each_page
def test_every_settings_key_exists(path: Path) -> None:
    sections = "|".join(Settings.model_fields)
    for key in re.findall(rf"`((?:{sections})\.[a-z_.\[\]]+)`", path.read_text()):
        if not key.endswith((".md", ".db", ".yaml")):
            assert key in keys(path), key


@each_page
def test_every_variable_exists(path: Path) -> None:
    for name in re.findall(r"\bMEDIATOR_[A-Z_]+\b", path.read_text()):
        if "__" in name:
            value = {name: "1"}
            assert read_environment(value).problems == (), name
            key = name.removeprefix("MEDIATOR_").lower().replace("__", ".")
            assert key in keys() or key == "section.key", name
        else:
            assert name in EXPECTED or any(name in text for text in (SHIM, COMPOSE)), name


EXPECTED = {
    "MEDIATOR_ATTEMPT",
    "MEDIATOR_CONFIG",
    "MEDIATOR_DELIVERY_ID",
    "MEDIATOR_FAULTS_SECONDS",
    "MEDIATOR_FAULTS_SEED",
    "MEDIATOR_QUICKSTART_DIR",
    "MEDIATOR_TICKET_ID",
    "MEDIATOR_TOKEN_FILE",
    "MEDIATOR_VENV",
}


@each_page
def test_every_metric_exists(path: Path) -> None:
    known = {row[0].strip("`") for row in GENERATE.metric_rows()}
    for name in re.findall(r"\bmediator_[a-z_]+\b", path.read_text()):
        assert re.sub(r"_(bucket|sum|count)$", "", name) in known, name


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@each_page
def test_every_example_of_settings_is_taken(path: Path) -> None:
    for block in blocks(path.read_text(), "yaml"):
        tree = yaml.safe_load(block)
        if set(tree) <= set(Settings.model_fields):
            Settings.model_validate(tree)


@each_page
def test_every_example_of_a_script_is_taken(path: Path) -> None:
    for block in blocks(path.read_text(), "python"):
        found = find_block(block.encode())
        if found is not None:
            read_block(found, "example.py")
    for block in blocks(path.read_text(), "toml"):
        if "project" not in tomllib.loads(block):
            read_sidecar(block.encode(), "example.toml")


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in PAGES if path.parent.name == "decisions"]
    assert numbers == list(range(1, len(numbers) + 1))
