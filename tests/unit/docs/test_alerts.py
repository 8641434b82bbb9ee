"""docs/reference/alerts.md lists every alert, its severity and its page."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[3]
RULES = REPOSITORY / "deploy" / "prometheus" / "mediator.rules.yaml"
PAGE = REPOSITORY / "docs" / "reference" / "alerts.md"


def severities() -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                found[rule["alert"]].add(rule["labels"]["severity"])
    return dict(found)


def test_the_page_lists_every_alert_with_its_severity_and_its_page() -> None:
    row = re.compile(r"^\| \[(\w+)\]\(\.\./runbooks/(\w+)\.md\) \| ([a-z, ]+) \|", re.MULTILINE)
    rows = row.findall(PAGE.read_text())
    assert {alert: set(severity.split(", ")) for alert, _, severity in rows} == severities()
    assert all(alert == page for alert, page, _ in rows)
