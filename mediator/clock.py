"""The only place that asks what time it is, so that tests can say what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time, always in UTC."""

    def now(self) -> datetime:
        """Now, with time zone UTC."""
        ...


class SystemClock:
    """The clock of the host."""

    def now(self) -> datetime:
        """Now, with time zone UTC."""
        return datetime.fromtimestamp(time.time(), UTC)
