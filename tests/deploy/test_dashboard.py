"""The dashboard is what its source says, and what Grafana can open."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.deploy.names import known_metrics, metrics_in

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "mediator.json").read_text())
PANELS: list[dict[str, Any]] = [p for p in DASHBOARD["panels"] if p["type"] != "row"]
UNITS = {"none", "short", "s", "bytes", "reqps", "percentunit"}
VARIABLES = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
BUILT_IN = {"__rate_interval", "__range"}

each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def generator() -> ModuleType:
    path = GRAFANA / "generate.py"
    specification = importlib.util.spec_from_file_location("generate_dashboard", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_dashboard_is_fresh() -> None:
    source = yaml.safe_load((GRAFANA / "mediator.yaml").read_text())
    fresh = generator().dashboard(source)
    assert (GRAFANA / "mediator.json").read_text() == fresh, "run deploy/grafana/generate.py"


def test_grafana_can_tell_the_dashboard_and_its_panels_apart() -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", DASHBOARD["uid"])
    assert "id" not in DASHBOARD, "it is Grafana that gives one"
    assert DASHBOARD["schemaVersion"] >= 39
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))


def test_no_panel_lies_on_another_or_beyond_the_edge() -> None:
    cells = {panel["title"]: covered(panel["gridPos"]) for panel in PANELS}
    for one, other in combinations(cells, 2):
        assert cells[one].isdisjoint(cells[other]), (one, other)
    assert all(0 <= x < 24 for found in cells.values() for x, _ in found)


def covered(place: dict[str, int]) -> set[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    lines = range(place["y"], place["y"] + place["h"])
    return {(x, y) for x in columns for y in lines}


def test_the_rows_answer_the_questions_in_their_order() -> None:
    rows = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows] == [
        "Overview",
        "Scripts",
        "Events",
        "Intake and people who wait",
        "Runner and catalog",
        "Store",
        "Daemon",
    ]
    assert [row["gridPos"]["y"] for row in rows] == sorted(row["gridPos"]["y"] for row in rows)


@each_panel
def test_every_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(references) == len(set(references))


@each_panel
def test_every_panel_asks_the_prometheus_that_was_chosen(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == chosen
    assert all(target["datasource"] == chosen for target in panel["targets"])


@each_panel
def test_no_query_asks_for_what_is_not_there(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert metrics_in(target["expr"]) - {"up"} <= known_metrics()
        assert set(re.findall(r"\$(\w+)", target["expr"])) <= VARIABLES | BUILT_IN
        labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert all(re.search(rf"\b{label}\b", target["expr"]) for label in labels)


def test_every_metric_is_shown_or_watched_but_those_that_say_nothing_of_work() -> None:
    asked = {name for panel in PANELS for t in panel["targets"] for name in metrics_in(t["expr"])}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    every = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known_metrics()}
    left = {name for name in every - bases if name.startswith("mediator_")}
    assert left == {
        "mediator_deliveries_dead",  # by script, it is
        "mediator_script_deliveries_pending_limit",  # an alert watches it
    }
