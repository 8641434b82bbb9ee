"""One watch over all Jobs and one over all their pods, instead of asking for each.

List, then watch from the list's resource version; a watch that ends goes on from the last version
it told of, bookmarks included; a version that the server no longer has (410) means to list again.
See https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
import structlog

from mediator.kube.client import describe
from mediator.runners.kubernetes.calls import Calls, passes, status_of
from mediator.runners.kubernetes.manifests import SELECTOR, Manifest

_log = structlog.get_logger()
_LENGTH = "60"
"""Seconds after which the server ends a watch: one whose connection has died is noticed so."""
_GONE = 410
_PAUSE = 0.2
"""Seconds before listing again, so that a server with nothing but errors is not overrun."""
_DELETED = "DELETED"


class Expired(Exception):
    """The server no longer knows what came after the version that was asked for."""


class Told(Protocol):
    """Hears of one object."""

    def __call__(self, item: Manifest, *, gone: bool = False) -> None:
        """It is there, or has gone."""


class ToldAll(Protocol):
    """Hears of all objects."""

    def __call__(self, found: Iterable[Manifest], *, number: int) -> None:
        """These there are, and no others, by the list of that number."""


@dataclass(kw_only=True, slots=True)
class Watch:
    """The watch over one kind of object."""

    calls: Calls
    path: str
    listing: Callable[[], int]
    told: Told
    told_all: ToldAll
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """set when it is known for the first time what there is"""
    problem: Exception | None = None
    """why nothing can be heard just now"""
    _version: str = ""

    async def run(self) -> None:
        """Watch until cancelled, whatever the API server does."""
        failures = 0
        while True:
            try:
                await self._once()
                failures = 0
                self._well()
            except Expired:
                self._version = ""
                await asyncio.sleep(_PAUSE)
            except Exception as error:  # noqa: BLE001 - a watch must not die of what it is told
                failures += 1
                self._ill(error)
                await asyncio.sleep(min(10.0, 0.2 * 2 ** min(failures, 6)))

    def _well(self) -> None:
        if self.problem is not None:
            _log.info("Kubernetes heard again", path=self.path)
        self.problem = None

    def _ill(self, error: Exception) -> None:
        if self.problem is None or not passes(error):
            _log.error("Kubernetes not heard", path=self.path, reason=describe(error))
        self.problem = error

    async def _once(self) -> None:
        if not self._version:
            await self._list()
            self._well()
        response = await self._open()
        try:
            async for line in response.content:
                self._hear(json.loads(line))
        finally:
            response.close()

    async def _list(self) -> None:
        number = self.listing()
        found = await self.calls.get(self.path, labelSelector=SELECTOR)
        self.told_all(found["items"], number=number)
        self._version = found["metadata"]["resourceVersion"]
        self.listed.set()

    async def _open(self) -> aiohttp.ClientResponse:
        try:
            return await self.calls.watch(
                self.path,
                watch="true",
                labelSelector=SELECTOR,
                resourceVersion=self._version,
                allowWatchBookmarks="true",
                timeoutSeconds=_LENGTH,
            )
        except Exception as error:
            if status_of(error) == _GONE:
                raise Expired from error
            raise

    def _hear(self, event: Manifest) -> None:
        item = event["object"]
        if event["type"] == "ERROR":
            # Whatever it is, the way on is unknown from here.
            raise Expired
        self._version = item["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            self.told(item, gone=event["type"] == _DELETED)
