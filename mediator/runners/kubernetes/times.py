"""Until when to wait for what, in one attempt."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from mediator.runners.kubernetes.pod import deadline
from mediator.runners.kubernetes.sights import Sight
from mediator.runners.kubernetes.situation import Running, Situation, Waiting
from mediator.runners.port import Run
from mediator.settings.kubernetes import Kubernetes

_PATIENCE = 120.0
"""Seconds for the cluster to end a pod, beyond its grace."""
_SILENCE = 5.0
"""Seconds for a node to tell how a script ended that it has ended."""
_WONDER = 5.0
"""Seconds without a pod after which the cluster is asked why there is none, and again."""


class Times:
    """The times of one attempt, by the loop's clock."""

    def __init__(self, run: Run, settings: Kubernetes, *, adopted: bool) -> None:
        now = self._now()
        self._timeout = run.timeout
        self._adopted = adopted
        self._kill = run.grace + _PATIENCE
        self._start_by = now + settings.start_timeout.total_seconds()
        self._lost_at = now + deadline(run, settings) + run.grace + _PATIENCE
        self._wonder_at = now + _WONDER
        self._end_by: float | None = None
        self._silent_at: float | None = None
        self._dead_by: float | None = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    @property
    def lost(self) -> bool:
        """By now the cluster must have ended it, whether or not that was heard."""
        return self._now() >= self._lost_at

    @property
    def waited_enough(self) -> bool:
        """It has not started for as long as it may wait."""
        return self._now() >= self._start_by

    @property
    def stop_failed(self) -> bool:
        """It was to be ended, and that has not come to pass."""
        return self._dead_by is not None and self._now() >= self._dead_by

    def timed_out(self, found: Running) -> bool:
        """Whether the script has run for its timeout."""
        return self._now() >= self._ends(found)

    def silent_long_enough(self, silent: bool) -> bool:
        """Whether `silent` has been true for as long as it needs to mean anything."""
        if not silent:
            self._silent_at = None
            return False
        self._silent_at = self._silent_at or self._now() + _SILENCE
        return self._now() >= self._silent_at

    def stopping(self) -> None:
        """The cluster has been told to end it."""
        self._dead_by = self._now() + self._kill

    def wonder(self, sight: Sight) -> bool:
        """Whether to ask now why there is no pod."""
        if sight.pod is not None or self._now() < self._wonder_at:
            return False
        self._wonder_at = self._now() + _WONDER
        return True

    def next(self, found: Situation, *, stopped: bool) -> float:
        """Seconds until something is due."""
        due = [self._lost_at]
        if stopped or self._silent_at is not None:
            due.append(self._now() + 1.0)  # the logs tell of no change
        if self._dead_by is not None:
            due.append(self._dead_by)
        if not stopped and isinstance(found, Running):
            due.append(self._ends(found))
        if not stopped and isinstance(found, Waiting):
            due += [self._start_by, self._wonder_at]
        return max(0.01, min(due) - self._now())

    def _ends(self, found: Running) -> float:
        """A run that was found running has run before, by the node's clock."""
        if self._end_by is None:
            ran = (datetime.now(UTC) - found.since).total_seconds() if self._adopted else 0.0
            self._end_by = self._now() + self._timeout - max(0.0, ran)
        return self._end_by
