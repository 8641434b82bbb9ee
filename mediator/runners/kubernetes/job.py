"""The Job of an attempt and the Secret with its ticket: pure builders."""

from __future__ import annotations

import base64
import math
from pathlib import PurePosixPath

from mediator.model.pods import Pod
from mediator.runners.kubernetes.merging import Manifest
from mediator.runners.kubernetes.naming import MANAGER, PROGRAM, RUN_NAME, TICKET, job_name
from mediator.runners.kubernetes.pod import deadline, labels, pod_template
from mediator.runners.kubernetes.program import starter
from mediator.runners.port import Run
from mediator.settings.kubernetes import Kubernetes

MOST = 1024 * 1024
"""Bytes a Secret can hold (https://kubernetes.io/docs/concepts/configuration/secret/)."""
_LEEWAY = 60
"""Seconds after a pod's deadline at which the Job has it ended, should its node not have."""


def job(run: Run, pod: Pod, settings: Kubernetes) -> Manifest:
    """One pod, never a second one; removed by the cluster when no mediator comes to do it.

    It is made without a pod (`parallelism` 0), and let go when its Secret is there.
    """
    grace = max(1, math.ceil(run.grace))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(run.name),
            "namespace": settings.namespace,
            "labels": labels(run),
            "annotations": {f"{MANAGER}/script-name": run.script, RUN_NAME: run.name},
        },
        "spec": {
            "parallelism": 0,
            "completions": 1,
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline(run, settings) + grace + _LEEWAY,
            "ttlSecondsAfterFinished": math.ceil(settings.keep_ended.total_seconds()),
            "template": pod_template(run, pod, settings),
        },
    }


def secret(run: Run, settings: Kubernetes, *, owner: str) -> Manifest:
    """What the script is given; it goes when the Job with the uid `owner` goes.

    Raises ValueError for what no process can be given, and `OverflowError` when it is too large.
    """
    program = PurePosixPath(settings.scripts.directory) / run.program.name
    data = {PROGRAM: starter(run, str(program)), TICKET: run.stdin}
    if (size := sum(map(len, data.values()))) > MOST:
        raise OverflowError(
            f"ticket, arguments and variables are {size} bytes together, and a Kubernetes Secret"
            f" holds at most {MOST}; give the script the runner process"
        )
    name = job_name(run.name)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": labels(run),
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner}
            ],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
