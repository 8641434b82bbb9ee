"""What a cluster says of itself and of what may be done in it, for `mediator check`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediator.cli.checking import Finding, Grade
from mediator.errors import MediatorError
from mediator.kubernetes_api import Cluster, describe, library

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

_SECONDS = 10.0
"""For one question; who waits is a person."""
_BATCH = frozenset({"jobs"})
"""Resources of the group batch; all others here are of the core."""
Right = tuple[str, str]
"""Verb and resource, as RBAC names them."""


class NoAnswer(MediatorError):
    """The cluster did not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """A ResourceQuota: what is used, and what there may be, as Kubernetes writes them."""

    name: str
    used: Mapping[str, str]
    hard: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What one part of the mediator needs of a cluster."""

    part: str
    cluster: Cluster
    rights: Sequence[Right]
    optional: frozenset[Right] = frozenset()
    grade: Grade = Grade.NOT_ALLOWED
    """how bad it is when something that is not optional is missing"""
    remedy: str


async def cluster_answers(api: ApiClient, need: Need) -> AsyncIterator[Finding]:
    """Is it there, and does it allow what is needed? One line a right."""
    what = f"{need.part}: cluster"
    try:
        detail = f"Kubernetes {await version(api)} at {api.configuration.host}"
        yield Finding(what=what, grade=Grade.OK, detail=detail)
        rights = await allowed(api, need.cluster.namespace, need.rights)
    except NoAnswer as error:
        yield Finding(what=what, grade=Grade.UNREACHABLE, detail=f"{error}.")
        return
    for right, is_allowed in zip(need.rights, rights, strict=True):
        yield _right(need, right, is_allowed=is_allowed)


def _right(need: Need, right: Right, *, is_allowed: bool) -> Finding:
    verb, resource = right
    what, namespace = f"{need.part}: {verb} {resource}", need.cluster.namespace
    if is_allowed:
        return Finding(what=what, grade=Grade.OK, detail=f"allowed in namespace {namespace}")
    return Finding(
        what=what,
        grade=Grade.WARNING if right in need.optional else need.grade,
        detail=f"may not {verb} {resource} in namespace {namespace}; {need.remedy}.",
    )


async def version(api: ApiClient) -> str:
    """Such as v1.34.1; everybody who is recognised may ask. Raises `NoAnswer`."""
    asked = library("kubernetes.aio.client").VersionApi(api).get_code
    return str((await _answer(lambda: asked(_request_timeout=_SECONDS))).git_version)


async def allowed(api: ApiClient, namespace: str, rights: Sequence[Right]) -> list[bool]:
    """Whether each is there; everybody may ask for itself. Raises `NoAnswer`.

    https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
    """
    return list(await asyncio.gather(*(_allowed(api, namespace, right) for right in rights)))


async def quotas(api: ApiClient, namespace: str) -> list[Quota]:
    """Those of the namespace. Raises `NoAnswer`, also where they may not be listed."""
    asked = library("kubernetes.aio.client").CoreV1Api(api).list_namespaced_resource_quota
    found = await _answer(lambda: asked(namespace, _request_timeout=_SECONDS))
    return [
        Quota(
            name=item.metadata.name,
            used=item.status.used or {},
            hard=item.status.hard or {},
        )
        for item in found.items
    ]


async def _allowed(api: ApiClient, namespace: str, right: Right) -> bool:
    verb, resource = right
    kind, _, part = resource.partition("/")
    review = {
        "spec": {
            "resourceAttributes": {
                "namespace": namespace,
                "verb": verb,
                "group": "batch" if kind in _BATCH else "",
                "resource": kind,
                "subresource": part,
            }
        }
    }
    reviews = library("kubernetes.aio.client").AuthorizationV1Api(api)
    asked = reviews.create_self_subject_access_review
    answer = await _answer(lambda: asked(review, _request_timeout=_SECONDS))
    return bool(answer.status.allowed)


async def _answer(ask: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await ask()
    except Exception as error:  # the library, aiohttp and the connection each have their own
        raise NoAnswer(describe(error)) from error
