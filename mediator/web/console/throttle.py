"""How often somebody may be wrong about a token before nobody listens for a while."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

MOST = 10
"""Failures of one address within `WINDOW`."""
WINDOW = timedelta(minutes=1)
_ADDRESSES = 1000
"""Addresses remembered; beyond it the oldest is forgotten, so that memory is bounded."""


class Throttle:
    """Counts failures by address. An address behind a proxy is the proxy's."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def wait(self, address: str, *, now: datetime) -> int:
        """Seconds until the address is listened to again; 0: now."""
        since, count = self._failures.get(address, (now, 0))
        left = since + WINDOW - now
        # A clock that was set back must not shut anybody out for long.
        if count < MOST or not timedelta(0) < left <= WINDOW:
            return 0
        return int(left.total_seconds()) + 1

    def failed(self, address: str, *, now: datetime) -> None:
        """It was wrong once more."""
        since, count = self._failures.pop(address, (now, 0))
        if not timedelta(0) <= now - since < WINDOW:
            since, count = now, 0
        self._failures[address] = (since, count + 1)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
