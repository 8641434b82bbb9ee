"""What the mediator must be allowed to do in a cluster, and whether it is.

deploy/kubernetes-runner/role.yaml and deploy/kubernetes-shim/role.yaml grant the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from mediator.kube.client import KubernetesClient

Right = tuple[str, str]
"""Verb and resource, as RBAC names them; jobs are of the group batch, the others of the core."""

RUNNER_RIGHTS: tuple[Right, ...] = (
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
"""The runner's, in the namespace of its Jobs, and nothing more."""
KEEPER_RIGHTS: tuple[Right, ...] = (
    ("list", "pods"),
    ("watch", "pods"),
    ("get", "pods/exec"),
    ("create", "pods/exec"),
    ("create", "events"),
)
"""The keeper's, in SecureChange's namespace, and nothing more. A WebSocket is opened by GET, so
that older servers ask for `get`, and since 1.35 a server asks for `create` besides (KEP-4006)."""
KEEPER_OPTIONAL = frozenset({("watch", "pods"), ("create", "events")})
"""Without these something is slower or unsaid, and nothing is undone."""

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def review(client: KubernetesClient, rights: Sequence[Right]) -> Mapping[Right, bool]:
    """Whether each is there, as the cluster says. Raises `KubernetesError`.

    Everybody who has been recognised may ask for itself (the ClusterRole system:basic-user); see
    https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access.
    """
    allowed = await asyncio.gather(*(_is_allowed(client, right) for right in rights))
    return dict(zip(rights, allowed, strict=True))


async def _is_allowed(client: KubernetesClient, right: Right) -> bool:
    verb, resource = right
    kind, _, part = resource.partition("/")
    attributes = {
        "namespace": client.namespace,
        "verb": verb,
        "group": "batch" if kind == "jobs" else "",
        "resource": kind,
        "subresource": part,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await client.create(_REVIEWS, body)
    return bool(answer["status"]["allowed"])
