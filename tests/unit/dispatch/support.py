"""Deliveries, scripts and a clock for tests of the dispatch room."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mediator.catalog.script import Catalog, Script
from mediator.model.delivery import Delivery, State, TicketFields
from mediator.model.policy import Policy, PolicyDefaults, Retry, StatedPolicy, resolve

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
DIRECTORY = Path("/scripts")


def policy(**stated: Any) -> Policy:
    """A trigger's, unless stated otherwise."""
    defaults = PolicyDefaults(
        timeout=timedelta(minutes=5),
        interactive_timeout=timedelta(seconds=20),
        grace=timedelta(seconds=10),
        retry=Retry(),
    )
    return resolve(defaults, StatedPolicy.model_validate(stated))


def script(name: str = "a.py", *, problem: str = "", **stated: Any) -> Script:
    return Script(name=name, path=DIRECTORY / name, policy=policy(**stated), problem=problem)


@dataclass
class Scripts:
    """A catalog that a test changes."""

    catalog: Catalog

    async def look(self) -> None:
        """There is no directory to read."""

    @classmethod
    def of(cls, *scripts: Script) -> Scripts:
        return cls(Catalog(directory=DIRECTORY, scripts={s.name: s for s in scripts}))


def delivery(**fields: Any) -> Delivery:
    values: dict[str, Any] = {
        "seq": 1,
        "id": "d1",
        "script": "a.py",
        "event": "CREATE",
        "arguments": (),
        "variables": {},
        "ticket": TicketFields(id="7"),
        "interactive": False,
        "state": State.RUNNING,
        "received": NOW,
        "due": None,
        "ended": None,
        "expires": None,
        "key_id": "k",
        "budget_start": NOW,
        "attempts_made": 1,
        "failures": 0,
        "losses": 0,
        "last_error": "",
    }
    return Delivery(**{**values, **fields})


@dataclass
class Clock:
    """Says what a test says, and moves on only when told."""

    time: datetime = field(default=NOW)
    passed: float = 0.0

    def now(self) -> datetime:
        return self.time

    def steady(self) -> float:
        return self.passed

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.passed += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock; no time passes."""
        self.time += timedelta(seconds=seconds)
