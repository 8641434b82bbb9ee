from __future__ import annotations

from typing import Any

import pytest

from mediator.model.delivery import Outcome
from mediator.runners.kubernetes.informer import CachedRun
from mediator.runners.kubernetes.status import (
    Exited,
    Failed,
    Pending,
    Running,
    RunStatus,
    status_of,
)


def pod(state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = [] if state is None else [{"name": "script", "state": state}]
    return {"metadata": {"uid": "1"}, "status": {"containerStatuses": containers, **status}}


def job(reason: str = "", message: str = "") -> dict[str, Any]:
    failed = {"type": "Failed", "status": "True", "reason": reason, "message": message}
    return {"metadata": {"name": "j"}, "status": {"conditions": [failed] if reason else []}}


def terminated(code: int, **more: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **more}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "said"}}


UNSCHEDULABLE = [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/3 nodes"}]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(
            CachedRun(), Pending(reason="the cluster has made no pod for its Job"), id="new"
        ),
        pytest.param(
            CachedRun(job=job(), job_gone=True),
            Failed(outcome=Outcome.LOST, reason="its Job was deleted, and not by the mediator"),
            id="Job deleted",
        ),
        pytest.param(
            CachedRun(job=job("DeadlineExceeded")),
            Failed(outcome=Outcome.TIMEOUT, reason="ended by the cluster after its deadline"),
            id="deadline of the Job",
        ),
        pytest.param(
            CachedRun(job=job("BackoffLimitExceeded", "too often")),
            Failed(outcome=Outcome.EVICTED, reason="its pod was removed (too often)"),
            id="pod gone unseen",
        ),
        pytest.param(
            CachedRun(pod=pod(conditions=UNSCHEDULABLE)),
            Pending(reason="no node takes its pod (0/3 nodes)", outcome=Outcome.UNSCHEDULABLE),
            id="unschedulable",
        ),
        pytest.param(
            CachedRun(pod=pod(waiting("ImagePullBackOff"))),
            Failed(
                outcome=Outcome.NO_IMAGE,
                reason="its image cannot be had (ImagePullBackOff: said)",
            ),
            id="no image",
        ),
        pytest.param(
            CachedRun(pod=pod(waiting("InvalidImageName"))),
            Failed(
                outcome=Outcome.NO_IMAGE,
                reason="its image cannot be had (InvalidImageName: said)",
                final=True,
            ),
            id="no name of an image",
        ),
        pytest.param(
            CachedRun(pod=pod(waiting("CreateContainerConfigError"))),
            Failed(
                outcome=Outcome.NOT_STARTED,
                reason="its container cannot be made (CreateContainerConfigError: said)",
            ),
            id="no container",
        ),
        pytest.param(CachedRun(pod=pod(terminated(3))), Exited(code=3), id="exit code"),
        pytest.param(
            CachedRun(pod=pod(terminated(137, reason="OOMKilled"))),
            Exited(code=137, out_of_memory=True),
            id="out of memory",
        ),
        pytest.param(
            CachedRun(pod=pod(terminated(0), phase="Failed", reason="DeadlineExceeded")),
            Exited(code=0, by_deadline=True),
            id="deadline of the pod",
        ),
        pytest.param(
            CachedRun(pod=pod(terminated(1), phase="Failed", reason="Evicted", message="disk")),
            Failed(outcome=Outcome.EVICTED, reason="its pod was evicted (Evicted: disk)"),
            id="evicted",
        ),
        pytest.param(
            CachedRun(pod=pod(), pod_gone=True),
            Failed(outcome=Outcome.EVICTED, reason="its pod was removed"),
            id="pod removed",
        ),
        pytest.param(
            CachedRun(pod=pod(terminated(0)), pod_gone=True),
            Exited(code=0),
            id="pod removed after its end",
        ),
    ],
)
def test_what_the_cluster_says_has_one_name(run: CachedRun, expected: RunStatus) -> None:
    assert status_of(run) == expected


def test_a_script_that_its_node_is_ending_still_runs() -> None:
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    found = status_of(CachedRun(pod=pod(running, phase="Failed", reason="DeadlineExceeded")))
    assert isinstance(found, Running)
