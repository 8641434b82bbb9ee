"""The only place that asks what time it is, so that tests can say what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is, always in UTC, and how much time has passed."""

    def now(self) -> datetime:
        """Now, with time zone UTC; it jumps when somebody sets the clock."""
        ...

    def steady(self) -> float:
        """Seconds since some moment; nobody can set it."""
        ...


class SystemClock:
    """The clock of the host."""

    def now(self) -> datetime:
        """Now, with time zone UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def steady(self) -> float:
        """Seconds since some moment; nobody can set it."""
        return time.monotonic()
