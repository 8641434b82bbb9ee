"""Is it keeping up, and was anything lost? What waits and runs, and how much is in the store."""

from __future__ import annotations

from collections import Counter as Sum
from collections.abc import Callable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge

from mediator.metrics.names import ScriptNames, calls_label
from mediator.metrics.snapshot import Snapshot
from mediator.model.census import Calls, Census

_SCRIPT = ("script", "calls")


class Backlog:
    """The deliveries that there are, and the room for them."""

    def __init__(self, registry: CollectorRegistry, names: ScriptNames) -> None:
        self._names = names
        self._all(registry)
        self._by_script(registry)
        self._room(registry)

    def _all(self, registry: CollectorRegistry) -> None:
        self._deliveries = Snapshot(
            "mediator_deliveries",
            "Deliveries in the store, by state.",
            ["state"],
            registry=registry,
        )
        self._pending = Gauge(
            "mediator_deliveries_pending",
            "Deliveries waiting for their first or next attempt.",
            registry=registry,
        )
        self._oldest = Gauge(
            "mediator_oldest_pending_age_seconds",
            "Age of the oldest pending delivery; 0 when none is pending.",
            registry=registry,
        )
        self._dead = Gauge(
            "mediator_deliveries_dead", "Deliveries that are dead.", registry=registry
        )

    def _by_script(self, registry: CollectorRegistry) -> None:
        texts = {
            "pending": "Deliveries of a script waiting for their first or next attempt.",
            "retrying": "Pending deliveries of a script that failed before and are not due yet.",
            "running": "Deliveries of a script of which an attempt runs.",
            "dead": "Deliveries of a script that are dead.",
        }
        self._counts = {
            word: Snapshot(
                f"mediator_script_deliveries_{word}", documentation, _SCRIPT, registry=registry
            )
            for word, documentation in texts.items()
        }
        self._late = Snapshot(
            "mediator_script_oldest_due_age_seconds",
            "How long the delivery of a script that waits longest has been due; 0 when none is.",
            _SCRIPT,
            registry=registry,
        )

    def _room(self, registry: CollectorRegistry) -> None:
        self._slots = Gauge(
            "mediator_slots", "Attempts that may run at once.", ["calls"], registry=registry
        )
        self._running = Gauge(
            "mediator_attempts_running", "Attempts running.", ["calls"], registry=registry
        )
        self.most_pending = Gauge(
            "mediator_deliveries_pending_limit",
            "Pending deliveries above which intake answers 503 (store.most_pending).",
            registry=registry,
        )
        self.most_pending_per_script = Gauge(
            "mediator_script_deliveries_pending_limit",
            "Pending deliveries of one script above which intake answers 429"
            " (store.most_pending_per_script).",
            registry=registry,
        )

    def slots(self, *, interactive: bool, size: int, running: Callable[[], float]) -> None:
        """How many slots there are for such calls, and who tells how many are taken."""
        calls = calls_label(interactive=interactive)
        self._slots.labels(calls).set(size)
        self._running.labels(calls).set_function(running)

    def show(self, census: Census, *, now: datetime) -> None:
        """What the store has just counted."""
        self._deliveries.replace({(str(s),): n for s, n in census.by_state.items()})
        self._pending.set(census.pending)
        self._dead.set(sum(census.dead.values()))
        self._oldest.set(_age(census.oldest_pending, now))
        pending = {group.calls: group.pending for group in census.waiting}
        retrying = {group.calls: group.retrying for group in census.waiting}
        found = {
            "pending": pending,
            "retrying": retrying,
            "running": census.running,
            "dead": census.dead,
        }
        for word, counts in found.items():
            self._counts[word].replace(self._summed(counts))
        self._late.replace(self._lateness(census, now))

    def _summed(self, counts: Mapping[Calls, int]) -> Mapping[tuple[str, ...], float]:
        """By label; a script of which there is nothing has 0, and those that are gone are one."""
        sums: Sum[tuple[str, ...]] = Sum(dict.fromkeys(map(self._labels, self._names.calls), 0))
        for calls, count in counts.items():
            sums[self._labels(calls)] += count
        return sums

    def _lateness(self, census: Census, now: datetime) -> Mapping[tuple[str, ...], float]:
        ages = dict.fromkeys(map(self._labels, self._names.calls), 0.0)
        for group in census.waiting:
            labels = self._labels(group.calls)
            ages[labels] = max(ages.get(labels, 0.0), _age(group.first_due, now))
        return ages

    def _labels(self, calls: Calls) -> tuple[str, ...]:
        script, interactive = calls
        return self._names.label(script), calls_label(interactive=interactive)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
