"""The alerts are sound, fire when they should and only then, and each has its page."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.names import known_metrics, metrics_in

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "deploy" / "prometheus" / "mediator.rules.yaml"
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
CASES = sorted((Path(__file__).parent / "prometheus").glob("*.test.yaml"))
HEADINGS = ["What it means", "How to look", "What to do"]

Json = dict[str, Any]


def rules() -> list[Json]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def name_of(alert: Json) -> str:
    """Several rules of one name differ by their window."""
    return f"{alert['alert']} {alert['labels'].get('window', '')}".strip()


each_alert = pytest.mark.parametrize("alert", ALERTS, ids=name_of)


def promtool(*arguments: str) -> None:
    told = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.name.partition(".")[0])
def test_alerts_fire_when_they_should_and_are_quiet_otherwise(cases: Path) -> None:
    promtool("test", "rules", str(cases))


def expectations() -> Iterator[tuple[str, list[Json]]]:
    """Alert → what one case of promtool expects of it."""
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for test in case["alert_rule_test"]:
                assert case["name"].startswith(f"{test['alertname']} "), case["name"]
                yield test["alertname"], test["exp_alerts"]


@each_alert
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet(
    alert: Json,
) -> None:
    cases = [expected for name, expected in expectations() if name == alert["alert"]]
    fired = [labels for expected in cases for labels in (e["exp_labels"] for e in expected)]
    assert any(alert["labels"].items() <= labels.items() for labels in fired)
    assert [] in cases


@each_alert
def test_every_alert_says_how_bad_it_is_and_what_has_happened(alert: Json) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    for annotation in ("summary", "description"):
        assert re.fullmatch(r"\S.*\.\s*", alert["annotations"][annotation]), annotation


@each_alert
def test_every_alert_has_a_page_that_says_what_to_do(alert: Json) -> None:
    page = REPOSITORY / alert["annotations"]["runbook_url"]
    assert page == RUNBOOKS / f"{alert['alert']}.md"
    parts = re.split(r"^## (.+)\n", page.read_text(), flags=re.MULTILINE)
    assert parts[0] == f"# {alert['alert']}\n\n"
    assert parts[1::2] == HEADINGS
    assert all(part.strip() for part in parts[2::2])


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert {page.stem for page in RUNBOOKS.iterdir()} == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or name_of(rule))
def test_no_rule_asks_for_what_is_not_there(rule: Json) -> None:
    assert metrics_in(rule["expr"]) - {"up"} <= known_metrics()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert set(re.findall(r"\bscript:[a-z_:0-9]+", rule["expr"])) <= recorded
