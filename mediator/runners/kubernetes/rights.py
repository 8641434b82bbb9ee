"""What the runner must be allowed to do in the namespace of its Jobs, and nothing more."""

from __future__ import annotations

import asyncio

from mediator.runners.kubernetes.calls import Calls

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

JOB_RIGHTS: tuple[tuple[str, str], ...] = (
    ("create", "jobs"),
    ("delete", "jobs"),
    ("get", "jobs"),
    ("list", "jobs"),
    ("patch", "jobs"),
    ("watch", "jobs"),
    ("list", "pods"),
    ("patch", "pods"),
    ("watch", "pods"),
    ("get", "pods/log"),
    ("create", "secrets"),
    ("list", "events"),
)
"""Verb and resource, as RBAC names them; jobs are of the group batch, the others of the core."""


async def missing_rights(calls: Calls) -> list[tuple[str, str]]:
    """Those of `RIGHTS` that this mediator does not have, as the cluster says.

    Everybody who has been recognised may ask (the ClusterRole system:basic-user).
    """
    allowed = await asyncio.gather(*(_allowed(calls, *right) for right in JOB_RIGHTS))
    return [right for right, yes in zip(JOB_RIGHTS, allowed, strict=True) if not yes]


async def _allowed(calls: Calls, verb: str, resource: str) -> bool:
    kind, _, part = resource.partition("/")
    attributes = {
        "namespace": calls.namespace,
        "verb": verb,
        "group": "batch" if kind == "jobs" else "",
        "resource": kind,
        "subresource": part,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await calls.create(_REVIEWS, review)
    return bool(answer["status"]["allowed"])
