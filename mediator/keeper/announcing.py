"""Kubernetes Events on the pod: what `kubectl describe pod` shows of the keeper's work."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog

from mediator.keeper.pods import Pod
from mediator.keeper.requests import PodError
from mediator.kubernetes_api import describe, library

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

COMPONENT = "mediator-shim-keeper"
_LONGEST = 1024
"""Characters of an Event's message; an API server refuses more."""
_SECONDS = 10.0
_log = structlog.get_logger(__name__)


class Announcer:
    """Writes Events, until it is told that it may not."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._allowed = True

    async def tell(self, pod: Pod, *, reason: str, message: str, warning: bool = False) -> None:
        """Write one; what stands in the way is logged, and stops nothing."""
        if not self._allowed:
            return
        body = event(pod, reason=reason, message=message, warning=warning)
        try:
            await self._create(pod.place.namespace, body)
        except PodError as error:
            self._allowed = getattr(error.__cause__, "status", None) != HTTPStatus.FORBIDDEN
            _log.warning("event not written", pod=pod.name, reason=str(error))

    async def _create(self, namespace: str, body: dict[str, Any]) -> None:
        core = library("kubernetes.aio.client").CoreV1Api(self._api)
        try:
            await core.create_namespaced_event(namespace, body, _request_timeout=_SECONDS)
        except Exception as error:  # the library, aiohttp and the connection have their own
            raise PodError(describe(error)) from error


def event(pod: Pod, *, reason: str, message: str, warning: bool) -> dict[str, Any]:
    """As the API server takes it."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{pod.name[:200]}.", "namespace": pod.place.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod.name,
            "namespace": pod.place.namespace,
            "uid": pod.uid,
        },
        "reason": reason,
        "message": message[:_LONGEST],
        "type": "Warning" if warning else "Normal",
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
