"""What is known of Jobs and pods, and which Jobs wait for somebody to record their end."""

from __future__ import annotations

from typing import Any

import pytest

from mediator.runners.kubernetes.informer import InformerCache


def job(name: str, *conditions: str, status: str = "True") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"mediator-{name}",
            "annotations": {"securechange-mediator/run-name": name},
        },
        "status": {"conditions": [{"type": one, "status": status} for one in conditions]},
    }


def pod(name: str, uid: str, *, created: str = "") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"pod-{uid}",
            "uid": uid,
            "creationTimestamp": created,
            "labels": {"securechange-mediator/run": f"mediator-{name}"},
        }
    }


@pytest.fixture
def cache() -> InformerCache:
    return InformerCache()


def test_jobs_have_ended_well_or_not(cache: InformerCache) -> None:
    found = [job("a-1", "Complete"), job("b-1", "Failed"), job("c-1"), job("d-1", "Suspended")]
    cache.replace_jobs([*found, job("e-1", "Complete", status="False")], asked_at=0)
    assert cache.ended() == {"a-1", "b-1"}


def test_a_job_that_is_looked_after_is_not_among_them(cache: InformerCache) -> None:
    cache.change_job(job("a-1", "Complete"), deleted=False)
    with cache.run("mediator-a-1"):
        assert cache.ended() == set()
    assert cache.ended() == {"a-1"}


def test_a_job_that_has_gone_is_not_among_them(cache: InformerCache) -> None:
    cache.change_job(job("a-1", "Complete"), deleted=False)
    cache.change_job(job("a-1", "Complete"), deleted=True)
    assert cache.ended() == set()


def test_what_a_list_lacks_has_gone(cache: InformerCache) -> None:
    with cache.run("mediator-a-1") as run:
        cache.change_job(job("a-1"), deleted=False)
        cache.change_pod(pod("a-1", "u1"), deleted=False)
        cache.replace_jobs([job("b-1")], asked_at=1)
        cache.replace_pods([], asked_at=1)
    assert (run.job_gone, run.pod_gone) == (True, True)


def test_a_list_that_was_asked_for_before_a_job_was_made_says_nothing_of_it(
    cache: InformerCache,
) -> None:
    with cache.run("mediator-a-1") as run:
        cache.created("mediator-a-1", job("a-1"), at=2)
        cache.replace_jobs([], asked_at=1)
        assert not run.job_gone
        cache.replace_jobs([], asked_at=3)
        assert run.job_gone


def test_of_two_pods_of_a_run_the_first_counts(cache: InformerCache) -> None:
    cache.change_pod(pod("a-1", "u2", created="2026-01-01T00:00:02Z"), deleted=False)
    cache.change_pod(pod("a-1", "u1", created="2026-01-01T00:00:01Z"), deleted=False)
    with cache.run("mediator-a-1") as run:
        assert run.pod_name == "pod-u1"
        cache.change_pod(pod("a-1", "u2"), deleted=True)
        assert not run.pod_gone
        cache.change_pod(pod("a-1", "u1"), deleted=True)
        assert run.pod_gone


def test_whoever_looks_after_a_run_is_woken_by_its_changes_alone(cache: InformerCache) -> None:
    with cache.run("mediator-a-1") as run:
        cache.change_job(job("b-1"), deleted=False)
        cache.change_pod(pod("b-1", "u1"), deleted=False)
        assert not run.changed.is_set()
        cache.change_pod(pod("a-1", "u2"), deleted=False)
        assert run.changed.is_set()
