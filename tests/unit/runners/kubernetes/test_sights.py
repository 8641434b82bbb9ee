"""Which Jobs have ended and wait for somebody to record it."""

from __future__ import annotations

from typing import Any

import pytest

from mediator.runners.kubernetes.status import Sights


def job(name: str, *conditions: str, status: str = "True") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"mediator-{name}",
            "annotations": {"securechange-mediator/run-name": name},
        },
        "status": {"conditions": [{"type": one, "status": status} for one in conditions]},
    }


@pytest.fixture
def sights() -> Sights:
    return Sights()


def test_jobs_have_ended_well_or_not(sights: Sights) -> None:
    found = [job("a-1", "Complete"), job("b-1", "Failed"), job("c-1"), job("d-1", "Suspended")]
    sights.jobs([*found, job("e-1", "Complete", status="False")], number=sights.listing())
    assert sights.ended() == {"a-1", "b-1"}


def test_a_job_that_is_looked_after_is_not_among_them(sights: Sights) -> None:
    sights.job(job("a-1", "Complete"))
    with sights.of("mediator-a-1"):
        assert sights.ended() == set()
    assert sights.ended() == {"a-1"}


def test_a_job_that_has_gone_is_not_among_them(sights: Sights) -> None:
    sights.job(job("a-1", "Complete"))
    sights.job(job("a-1", "Complete"), gone=True)
    assert sights.ended() == set()
