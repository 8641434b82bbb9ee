"""What is made of something else is made of what that is now."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import mediator
from tests.support.helm import CHART, REPOSITORY, SCENARIOS, Helm

AGAIN = "run helm/generate.py"


def generator() -> ModuleType:
    path = REPOSITORY / "helm" / "generate.py"
    specification = importlib.util.spec_from_file_location("generate_chart", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


GENERATE = generator()
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_the_readme_and_the_copies_are_fresh() -> None:
    stale = [_name(path) for path, text in GENERATE.documents().items() if path.read_text() != text]
    assert stale == [], AGAIN


def test_the_plain_manifests_are_fresh(helm: Helm) -> None:
    made: dict[Path, str] = GENERATE.manifests(str(helm.program))
    there = {path: path.read_text() for path in GENERATE.MANIFESTS.glob("*/*.yaml")}
    assert {_name(path) for path in made} == {_name(path) for path in there}, AGAIN
    stale = [
        _name(path)
        for path, text in made.items()
        if yaml.safe_load(text) != yaml.safe_load(there[path])
    ]
    assert stale == [], AGAIN


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_kustomize_takes_the_plain_manifests(tools: Path, name: str) -> None:
    kubectl = Helm(program=tools / "4" / "kubectl")
    done = kubectl.run("kustomize", str(GENERATE.MANIFESTS / name))
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    kinds = {document["kind"] for document in built}
    assert {"ConfigMap", "Deployment", "Service", "ServiceAccount"} <= kinds
    assert "elm" not in re.sub(r"overwhelm", "", done.stdout)


def test_the_chart_names_the_mediator_that_it_was_tested_with() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == mediator.__version__


def _keys(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in tree.items():
        path = f"{above}{key}"
        yield path
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{path}.")


def _stated(node: dict[str, Any], above: str = "") -> Iterator[str]:
    """Every key that the schema names."""
    if "$ref" in node:
        node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
    for key, below in node.get("properties", {}).items():
        yield f"{above}{key}"
        yield from _stated(below, f"{above}{key}.")


def test_the_schema_has_exactly_the_keys_of_the_values() -> None:
    documented = {row[1] for row in GENERATE.values_rows((CHART / "values.yaml").read_text())}
    stated = set(_stated(SCHEMA)) - {"global"}
    there = set(_keys(VALUES))
    inside = {key for key in there if any(key.startswith(f"{one}.") for one in documented)}
    assert there - inside <= stated
    within = {key for key in stated if any(key.startswith(f"{one}.") for one in documented)}
    assert stated - within <= there


def test_a_value_without_a_sentence_is_not_left_out_silently() -> None:
    with pytest.raises(ValueError, match=r"a\.b has no comment"):
        list(GENERATE.values_rows("## Section\n\na:\n  b: 1\n"))


def test_every_value_that_the_templates_read_is_there() -> None:
    there = set(_keys(VALUES))
    for path in CHART.glob("templates/**/*"):
        if path.is_file():
            for key in re.findall(r"\.Values((?:\.[A-Za-z]+)+)", path.read_text()):
                found = key.removeprefix(".")
                assert found in there or found.startswith("config."), f"{path.name}: {found}"


def test_every_top_level_value_is_read_by_a_template() -> None:
    text = "".join(path.read_text() for path in CHART.glob("templates/**/*") if path.is_file())
    for key in VALUES:
        assert f".Values.{key}" in text or f'"{key}"' in text, key


def test_every_scenario_says_what_it_is() -> None:
    for path in SCENARIOS:
        assert path.read_text().startswith("# "), path.name
