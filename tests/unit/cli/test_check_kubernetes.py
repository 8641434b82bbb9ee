"""What `mediator check --kubernetes` says without asking a cluster."""

from __future__ import annotations

import asyncio

import pytest

from mediator.cli.check import exit_code
from mediator.cli.check_kubernetes import Quota, cluster_findings, of_images, of_quotas
from mediator.cli.findings import Finding, Grade
from mediator.settings.schema import Settings


def test_clusters_that_the_settings_do_not_use_are_not_asked() -> None:
    found = asyncio.run(cluster_findings(Settings()))
    assert [(one.what, one.grade) for one in found] == [
        ("shim", Grade.OK),
        ("runner", Grade.OK),
    ]


@pytest.mark.parametrize(
    ("image", "grade"),
    [
        pytest.param("registry.example:5000/team/py:3.13", Grade.OK, id="a tag"),
        pytest.param(f"py@sha256:{'a' * 64}", Grade.OK, id="a digest"),
        pytest.param("py", Grade.WARNING, id="no tag"),
        pytest.param("example.org/py:latest", Grade.WARNING, id="latest"),
        pytest.param("py:3 13", Grade.ERROR, id="a blank"),
        pytest.param("https://example.org/py:3", Grade.ERROR, id="a URL"),
        pytest.param("example.org/Team/py:3", Grade.ERROR, id="upper case in the path"),
    ],
)
def test_an_image_is_judged_by_its_name(image: str, grade: Grade) -> None:
    (found,) = of_images([image])
    assert found.grade is grade
    assert grade is Grade.ERROR or "only a node that pulls it knows" in found.detail


def test_a_quota_that_is_used_up_is_named() -> None:
    full = Quota(
        name="team",
        used={"pods": "10", "requests.cpu": "1500m"},
        hard={"pods": "10", "requests.cpu": "2"},
    )
    (found,) = of_quotas([full], "jobs")
    assert found.grade is Grade.WARNING
    assert found.detail == "team: used up: pods 10 of 10"


def test_a_quota_with_room_shows_how_much_and_units_are_understood() -> None:
    free = Quota(name="team", used={"limits.memory": "900Mi"}, hard={"limits.memory": "1Gi"})
    (found,) = of_quotas([free], "jobs")
    assert found.grade is Grade.OK
    assert found.detail == "team: limits.memory 900Mi of 1Gi"


@pytest.mark.parametrize("grade", [Grade.NOT_ALLOWED, Grade.UNREACHABLE])
def test_what_a_cluster_does_not_do_is_a_failure(grade: Grade) -> None:
    assert exit_code([Finding(what="shim: list pods", grade=grade)]) == 1
