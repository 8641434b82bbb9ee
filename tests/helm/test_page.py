"""What docs/how-to/helm.md shows is taken by the chart."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.helm import CHART, MINIMAL, REPOSITORY, Helm

PAGE = (REPOSITORY / "docs" / "how-to" / "helm.md").read_text()
BLOCKS = [
    block
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if not block.startswith("apiVersion:")  # an object, which tests/cluster applies
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.partition(":")[0])
def test_every_example_is_taken(helm: Helm, block: str) -> None:
    values: dict[str, Any] = yaml.safe_load(block)
    assert helm.template({**MINIMAL, **values})


def test_every_scenario_is_in_the_table() -> None:
    """All but the one of what few need."""
    linked = set(re.findall(r"helm/mediator/ci/([a-z-]+\.yaml)", PAGE))
    there = {path.name for path in (CHART / "ci").iterdir()}
    assert there - linked == {"extras-values.yaml"}


def test_the_seconds_of_an_orderly_stop_are_those_of_the_chart(helm4: Helm) -> None:
    said = re.search(r"`dispatch\.grace` and (\d+) seconds", PAGE)
    assert said is not None
    none = {**MINIMAL, "config": {"dispatch": {"drain": "0s", "grace": "0s"}}}
    deployment = next(one for one in helm4.template(none) if one["kind"] == "Deployment")
    seconds = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert seconds == int(said[1])
