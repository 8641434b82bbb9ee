"""Which pods are SecureChange's, and in which container of them something can be run now."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mediator.errors import SettingsError
from mediator.keeper.execution import Place
from mediator.keeper.protocol import PodError
from mediator.kube.client import describe, library

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation by which a pod names the container that is meant; kubectl exec heeds it too."""
_PAGE = 100
"""Pods in one answer of a list."""
_SECONDS = 30.0
"""For one answer."""


class Expired(PodError):
    """The resource version is older than what the API server remembers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which pods are meant; one may match many."""

    namespace: str
    selector: str
    """of labels, as kubectl takes it"""
    container: str | None
    """None: the pod's default container, else its first"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """What is of interest of a pod."""

    place: Place
    uid: str
    container_id: str
    """changes when the container starts again in the same pod; empty while it does not run"""
    why_not: str
    """why nothing can be run in it now; empty: something can"""
    lacks_container: bool = False
    """whether that is because it has no container of the name that is meant"""

    @property
    def name(self) -> str:
        """Its name in the namespace."""
        return self.place.pod

    @property
    def life(self) -> tuple[str, str]:
        """What files in it last for."""
        return self.uid, self.container_id


async def find(api: ApiClient, selection: Selection) -> tuple[list[Pod], str]:
    """The pods there are, and the resource version to watch from. Raises `PodError`."""
    pods: list[Pod] = []
    page: dict[str, Any] = {}
    while not page or page["metadata"].get("continue"):
        after = page["metadata"]["continue"] if page else None
        async with asking(api, selection, limit=_PAGE, _continue=after) as response:
            page = json.loads(await response.read())
        pods += [pod_of(document, selection) for document in page.get("items") or ()]
    return sorted(pods, key=lambda pod: pod.name), page["metadata"].get("resourceVersion", "")


@asynccontextmanager
async def asking(
    api: ApiClient, selection: Selection, *, seconds: float = _SECONDS, **query: Any
) -> AsyncIterator[Any]:
    """The answer to a list or a watch of these pods. Raises `PodError`, `Expired` for 410.

    As the server writes it: the library's models refuse what newer servers may send.
    """
    ask = (
        library("kubernetes.aio.client").CoreV1Api(api).list_namespaced_pod_without_preload_content
    )
    try:
        async with await ask(
            selection.namespace,
            label_selector=selection.selector,
            _request_timeout=seconds,
            **query,
        ) as response:
            await _accept(response)
            yield response
    except PodError:
        raise
    except Exception as error:  # the library, aiohttp and the connection each have their own
        raise PodError(describe(error)) from error


async def _accept(response: Any) -> None:
    if response.status == HTTPStatus.GONE:
        raise Expired("what was asked for is older than what the API server remembers")
    if response.status != HTTPStatus.OK:
        raise library("kubernetes.aio.client").ApiException(
            status=response.status, reason=response.reason, body=(await response.read()).decode()
        )


def pod_of(document: Mapping[str, Any], selection: Selection) -> Pod:
    """A pod as the API server writes it."""
    metadata, status = document["metadata"], document.get("status") or {}
    container = selection.container or _default_container(document)
    found = [one for one in status.get("containerStatuses") or () if one.get("name") == container]
    running = bool(found) and (found[0].get("state") or {}).get("running") is not None
    return Pod(
        place=Place(namespace=selection.namespace, pod=metadata["name"], container=container),
        uid=metadata["uid"],
        container_id=(found[0].get("containerID") or "") if running else "",
        why_not=_why_not(document, container, running=running),
        lacks_container=container not in _containers(document),
    )


def _default_container(document: Mapping[str, Any]) -> str:
    named = (document["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    return str(named or _containers(document)[0])


def _containers(document: Mapping[str, Any]) -> list[str]:
    return [one["name"] for one in document["spec"]["containers"]]


def _why_not(document: Mapping[str, Any], container: str, *, running: bool) -> str:
    if container not in _containers(document):
        names = ", ".join(_containers(document))
        return f"it has no container {container}, but {names}; see shim.container"
    if document["metadata"].get("deletionTimestamp"):
        return "it is being deleted"
    if not running:
        phase = (document.get("status") or {}).get("phase", "Unknown")
        return f"its container {container} does not run (the pod is {phase})"
    return ""


def selection_of(*, namespace: str, selector: str, container: str | None) -> Selection:
    """Raises `SettingsError` without a selector: no pod is written to that nobody named."""
    if not selector.strip():
        raise SettingsError(
            "shim.selector is not set, so it is not known which pod is SecureChange's; find its"
            " labels by `kubectl get pods --show-labels` and put one there, such as app=sc."
        )
    return Selection(namespace=namespace, selector=selector, container=container)
