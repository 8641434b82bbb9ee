"""Removes ended deliveries that nobody needs any more, a few at a time.

What is pending or runs is never removed. Neither is what a hand-over may still be a repeat of: it
would run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import structlog

from mediator.clock import Clock
from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.delivery import State
from mediator.settings.schema import Retention
from mediator.storage.interface import DeliveryStore, RetentionRule

_log = structlog.get_logger()

RESENDS = timedelta(hours=1)
"""How long after its end a delivery is kept at least: its caller may still send it again."""
EVERY = timedelta(minutes=1)
PAUSE = timedelta(milliseconds=100)
"""Between two removals, for those who hand over meanwhile."""


@dataclass(kw_only=True, slots=True)
class Cleaner:
    """Holds the store to what the settings say is kept."""

    store: DeliveryStore
    settings: Retention
    deduplicate: timedelta
    """the window in which the same content is one delivery"""
    metrics: Metrics
    clock: Clock
    every: timedelta = EVERY
    pause: timedelta = PAUSE

    async def run(self) -> None:
        """Again and again, until cancelled."""
        while True:
            try:
                await self.clean()
            except StoreUnavailable as error:
                _log.error("deliveries not removed", reason=error.detail)
            await asyncio.sleep(self.every.total_seconds())

    async def clean(self) -> None:
        """Remove what need not be kept now, then give its space back."""
        for kept in self._kept():
            removed = 0
            while count := await self.store.remove(kept):
                removed += count
                self.metrics.attempts.removed.labels(kept.state).inc(count)
                await asyncio.sleep(self.pause.total_seconds())
            if removed:
                _log.info("deliveries removed", state=str(kept.state), count=removed)
        while await self.store.vacuum_step():  # noqa: ASYNC110 - a pause, not a poll
            await asyncio.sleep(self.pause.total_seconds())

    def _kept(self) -> Iterator[RetentionRule]:
        now = self.clock.now()
        ages = {
            State.SUCCEEDED: self.settings.succeeded,
            State.CANCELLED: self.settings.cancelled,
            State.DEAD: self.settings.dead,
        }
        for state, age in ages.items():
            yield RetentionRule(
                state=state,
                since=now - age if age else None,
                most=self.settings.most or None,
                always_since=now - max(self.deduplicate, RESENDS),
            )
