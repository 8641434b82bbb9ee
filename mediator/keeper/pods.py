"""Which pods are SecureChange's, and in which container of them something can be run now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mediator.errors import SettingsError
from mediator.kube.client import KubernetesClient
from mediator.kube.exec import PodContainer

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation by which a pod names the container that is meant; kubectl exec heeds it too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which pods of the namespace are meant; one may match many."""

    selector: str
    """of labels, as kubectl takes it"""
    container: str | None
    """None: the pod's default container, else its first"""

    def __post_init__(self) -> None:
        """Raises `SettingsError` without a selector: no pod is written to that nobody named."""
        if not self.selector.strip():
            raise SettingsError(
                "shim.selector is not set, so it is not known which pod is SecureChange's; find"
                " its labels by `kubectl get pods --show-labels` and put one there, such as"
                " app=sc."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SecureChangePod:
    """What is of interest of a pod."""

    place: PodContainer
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


async def find(client: KubernetesClient, selection: Selection) -> list[SecureChangePod]:
    """The pods there are, by name. Raises `KubernetesError`."""
    found, _ = await client.list(client.core("pods"), labelSelector=selection.selector)
    return sorted((pod_of(one, selection) for one in found), key=lambda pod: pod.name)


def pod_of(document: Mapping[str, Any], selection: Selection) -> SecureChangePod:
    """A pod as the API server writes it."""
    metadata, status = document["metadata"], document.get("status") or {}
    container = selection.container or _default_container(document)
    found = [one for one in status.get("containerStatuses") or () if one.get("name") == container]
    running = bool(found) and (found[0].get("state") or {}).get("running") is not None
    return SecureChangePod(
        place=PodContainer(pod=metadata["name"], container=container),
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
