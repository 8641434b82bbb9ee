"""One list-watch loop for one kind of object, instead of asking for each object.

List, then watch from the list's resource version; a watch that ends goes on from the last version
it told of, bookmarks included; a version that the server no longer has (410) means to list again.
See https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
What is told is an informer cache's business, or whose it may be.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from mediator.kube.client import KubernetesClient, KubernetesError, Manifest, describe

_log = structlog.get_logger(__name__)
_LENGTH = 60
"""Seconds after which the server ends a watch: one whose connection has died is noticed so."""
_SILENCE = _LENGTH + 15.0
"""Seconds without a byte after which it has died."""
_PAUSE = 0.2
"""Seconds between two watches, and before a list: some proxies end each watch at once."""
_LONGEST_PAUSE = 15.0
"""Seconds between two tries, at most."""
_AWAY = frozenset(
    {
        None,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
"""Codes of a server that did not look at the request: what it told before still stands.

Not 504: by that it says that it does not know a version yet, as after a restore of its store.
"""


class OnList(Protocol):
    """Hears of all objects."""

    def __call__(self, items: list[Manifest], *, asked_at: float) -> None:
        """These there are, and no others; `asked_at`: when that was asked, by the loop's clock."""


class OnChange(Protocol):
    """Hears of one object."""

    def __call__(self, item: Manifest, *, deleted: bool) -> None:
        """It is there, as it is now, or it has gone."""


class Reflector:
    """Tells what there is of one kind, and every change of it."""

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        *,
        selector: str,
        on_list: OnList,
        on_change: OnChange,
    ) -> None:
        """`selector`: of labels, as kubectl takes it."""
        self.listed = asyncio.Event()
        """set when it is known for the first time what there is"""
        self.problem: Exception | None = None
        """why nothing can be heard just now"""
        self._client = client
        self._path = path
        self._selector = selector
        self._on_list = on_list
        self._on_change = on_change
        self._version = ""
        self._open = False

    @property
    def connected(self) -> bool:
        """Whether what was last told is what there is."""
        return self._open and self.problem is None

    async def run(self) -> None:
        """Watch until cancelled, whatever the API server does."""
        again = AsyncRetrying(
            # Anything: the watch must not die of an object that nobody foresaw.
            retry=retry_if_exception_type(Exception),
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE),
            before_sleep=self._tell_problem,
        )
        while True:
            await again(self._once)
            await asyncio.sleep(_PAUSE)

    async def _once(self) -> None:
        """One watch to its end. The pauses grow only while not even that succeeds."""
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except KubernetesError as error:
            if error.code not in _AWAY:
                # With a list again: so objects are known even where they may not be watched.
                self._version = ""
            if error.code != HTTPStatus.GONE:
                raise

    async def _list(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        items, version = await self._client.list(self._path, labelSelector=self._selector)
        self._on_list(items, asked_at=asked_at)
        self._version = version
        self.listed.set()

    async def _watch(self) -> None:
        async with self._client.watch(
            self._path,
            silence=_SILENCE,
            labelSelector=self._selector,
            resourceVersion=self._version,
            allowWatchBookmarks="true",
            timeoutSeconds=str(_LENGTH),
        ) as events:
            self._tell_connected()
            async for event in events:
                self._take(event)

    def _take(self, event: Manifest) -> None:
        kind, item = event["type"], event["object"]
        if kind == "ERROR":  # whatever it is, the way on is unknown from here
            self._version = ""
            said = f"the watch failed: {item.get('message', '')[:300]}"
            raise KubernetesError(said, code=item.get("code", HTTPStatus.GONE))
        self._version = item["metadata"]["resourceVersion"]
        if kind != "BOOKMARK":
            self._on_change(item, deleted=kind == "DELETED")

    def _tell_connected(self) -> None:
        self._open = True
        if self.problem is not None:
            _log.info("Kubernetes heard again", path=self._path)
        self.problem = None

    def _tell_problem(self, state: RetryCallState) -> None:
        """An outage once, a refusal each time: it needs somebody."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception):
            if self.problem is None or not getattr(error, "transient", False):
                _log.error("Kubernetes not heard", path=self._path, reason=describe(error))
            self.problem = error
