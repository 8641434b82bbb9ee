"""Follows the log of one container, through every break of the connection, byte for byte.

A log that is read again begins at its beginning; what was read before is skipped. So nothing is
lost or doubled, as long as the node has not rotated the log (its `containerLogMaxSize`, 10 MiB).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mediator.runners.kubernetes.calls import Calls, passes, status_of
from mediator.runners.output import BoundedOutput

_NOT_YET = 400
"""What a container answers that is still being made."""
_SETTLED = 10.0
"""Seconds in which the API tells that a container has ended, after its log has."""


class Followed:
    """What one container writes."""

    def __init__(
        self, calls: Calls, container: str, *, limit: int, heard: Callable[[bytes], None]
    ) -> None:
        """`limit`: bytes that are kept; `heard` is told of every byte once."""
        self.kept = BoundedOutput(limit)
        self.missing = False
        """whether the log went before it was read to its end"""
        self.paused = False
        """whether the log has been read as far as it goes now, and the server said that it ends"""
        self._calls = calls
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
                if await _soon(ended):
                    return
            except Exception as error:  # noqa: BLE001 - output is worth less than its attempt
                if status_of(error) == _NOT_YET and not ended.is_set():
                    failures = min(failures, 2)
                elif not passes(error):
                    self.missing = True
                    return
                failures += 1
                await asyncio.sleep(min(10.0, 0.1 * 2 ** min(failures, 7)))

    async def _pass(self, pod: str) -> None:
        response = await self._calls.log(pod, self._container)
        place = 0
        try:
            async for chunk in response.content.iter_any():
                place += len(chunk)
                self._take(chunk, place)
        finally:
            response.close()

    def _take(self, chunk: bytes, place: int) -> None:
        """`place`: where in the log the chunk ends."""
        new = min(len(chunk), place - self._read)
        if new > 0:
            self._read = place
            self.kept.add(chunk[-new:])
            self._heard(chunk[-new:])


async def _soon(ended: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(_SETTLED):
            return await ended.wait()
    except TimeoutError:
        return False
