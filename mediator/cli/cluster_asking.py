"""What a cluster says of itself and of what may be done in it, for `mediator check`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mediator.errors import MediatorError
from mediator.kubernetes_api import Cluster, api_client, describe, library

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

_SECONDS = 10.0
"""For one question; who waits is a person."""
_BATCH = frozenset({"jobs"})
"""Resources of the group batch; all others here are of the core."""
T = TypeVar("T")
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


async def with_client(cluster: Cluster, look: Callable[[ApiClient], Awaitable[T]]) -> T:
    """What `look` finds by a client of this cluster. Raises `SettingsError`."""
    async with api_client(cluster) as api:
        return await look(api)
