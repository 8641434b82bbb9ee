"""Follows the log of one container, through every break of the connection, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from mediator.clock import wait_for_event
from mediator.kube.client import KubernetesClient, KubernetesError

_SETTLED = 10.0
"""Seconds in which the API tells that a container has ended, after its log has."""
_LONGEST_PAUSE = 10.0
"""Seconds between two tries, at most."""


class ContainerLog:
    """What one container writes."""

    def __init__(
        self, client: KubernetesClient, container: str, *, heard: Callable[[bytes], None]
    ) -> None:
        """`heard` is told of every byte once."""
        self.missing = False
        """whether the log went before it was read to its end"""
        self.paused = False
        """whether the log has been read as far as it goes now, and the server said that it ends"""
        self._client = client
        self._container = container
        self._heard = heard
        self._read = 0

    async def follow(self, pod: str, ended: asyncio.Event) -> None:
        """Read to the end; `ended` is set when the container is known to have ended."""
        failures = 0
        while True:
            try:
                await self._pass(pod)
                self.paused = True
                failures = 0
                if await wait_for_event(ended, seconds=_SETTLED):
                    return
            except KubernetesError as error:
                if error.code == HTTPStatus.BAD_REQUEST and not ended.is_set():
                    failures = min(failures, 2)  # the container is still being made
                elif not error.transient:
                    self.missing = True
                    return
                failures += 1
                await asyncio.sleep(min(_LONGEST_PAUSE, 0.1 * 2 ** min(failures, 7)))

    async def _pass(self, pod: str) -> None:
        """The whole log, from its beginning to where the connection ends."""
        place = 0
        async with self._client.log(pod, self._container) as chunks:
            async for chunk in chunks:
                place += len(chunk)
                self._take(chunk, place)

    def _take(self, chunk: bytes, place: int) -> None:
        """`place`: where in the log the chunk ends."""
        new = min(len(chunk), place - self._read)
        if new > 0:
            self._read = place
            self._heard(chunk[-new:])
