"""The pods as they come, start again and go: list, then watch from there, for ever.

Each change is passed on as the whole of what is known, so that a lost connection loses nothing:
a watch that breaks goes on from the last resource version it heard of, bookmarks included; one
that is too old (410) begins again with a list.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_random_exponential

from mediator.keeper.pods import Expired, Pod, Selection, asking, find, pod_of
from mediator.keeper.requests import PodError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

_LONGEST_WATCH = 240
"""Seconds after which the server ends a watch: one that a firewall forgot must not last."""
_SILENCE = 60.0
"""Seconds beyond that in which nothing at all came: the connection is dead."""
_PAUSE = 0.2
"""Seconds between two watches; some proxies end each at once."""
_log = structlog.get_logger(__name__)
Pods = Mapping[str, Pod]
"""By uid."""


class Following:
    """Tells of the pods; `heard` is called whenever something is different."""

    def __init__(self, api: ApiClient, selection: Selection, heard: Callable[[Pods], None]) -> None:
        self._api = api
        self._selection = selection
        self._heard = heard
        self._pods: dict[str, Pod] = {}
        self._version = ""
        self.connected = False
        """whether what was last told is what there is"""

    async def run(self) -> None:
        """For ever; errors are logged, and tried again after a growing pause."""
        while True:
            await self._try()
            await asyncio.sleep(_PAUSE)

    @retry(
        retry=retry_if_exception_type(PodError),
        wait=wait_random_exponential(multiplier=0.5, max=15),
        before_sleep=lambda state: _tell(state),  # noqa: PLW0108 - it is defined below
    )
    async def _try(self) -> None:
        """One watch to its end. The pauses grow only while not even that succeeds."""
        try:
            if not self._version:
                await self._list()
            self.connected = True
            await self._watch()
        except Expired:
            self._version = ""
        except PodError:
            # The next try begins with a list, so that pods are followed even where the account
            # may not watch them.
            self.connected, self._version = False, ""
            raise

    async def _list(self) -> None:
        pods, self._version = await find(self._api, self._selection)
        self._pods = {pod.uid: pod for pod in pods}
        self._heard(dict(self._pods))

    async def _watch(self) -> None:
        async with aclosing(self._lines()) as lines:
            async for line in lines:
                self._take(json.loads(line))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, document = event["type"], event["object"]
        if kind == "ERROR":
            if document.get("code") == HTTPStatus.GONE:
                raise Expired(str(document.get("message", "")))
            raise PodError(f"the watch failed: {document.get('message', '')[:300]}")
        self._version = document["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        pod = pod_of(document, self._selection)
        if kind == "DELETED":
            self._pods.pop(pod.uid, None)
        else:
            self._pods[pod.uid] = pod
        self._heard(dict(self._pods))

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        """What a watch says, line by line. Raises `PodError`."""
        async with asking(
            self._api,
            self._selection,
            seconds=_LONGEST_WATCH + _SILENCE,
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=self._version,
            timeout_seconds=_LONGEST_WATCH,
        ) as response:
            rest = b""
            async for piece in response.content.iter_any():
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.error("pods cannot be watched", reason=str(error), tries=state.attempt_number)
