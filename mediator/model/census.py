"""How many deliveries there are, by script and state: what a store counts for metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mediator.model.deliveries import State

Calls = tuple[str, bool]
"""A script, and whether a person waits for its answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What is pending of one script and one sort of call."""

    calls: Calls
    pending: int
    """deliveries that wait for their first or next attempt"""
    retrying: int
    """those of them whose time has not come: an attempt failed, and the next one is due later"""
    first_due: datetime
    """when the one that was due first became due, or will"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """The store at one moment."""

    waiting: Sequence[Waiting]
    oldest_pending: datetime | None
    """when the pending delivery that came first was received"""
    running: Mapping[Calls, int]
    dead: Mapping[Calls, int]
    ended: Mapping[State, int]
    """state → deliveries, for the states in which nothing more happens by itself"""

    @property
    def pending(self) -> int:
        """Deliveries that wait, of all scripts."""
        return sum(group.pending for group in self.waiting)

    @property
    def by_state(self) -> dict[State, int]:
        """Every state → deliveries in it."""
        unfinished = {State.PENDING: self.pending, State.RUNNING: sum(self.running.values())}
        return {state: {**unfinished, **self.ended}.get(state, 0) for state in State}
