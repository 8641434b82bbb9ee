"""What fails and why, and who is slow? Attempts, and how deliveries ended."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram

from mediator.metrics.names import ScriptNames, calls_label, event_label
from mediator.model.attempts import Ended, Outcome
from mediator.model.deliveries import ENDED, Delivery, Fate, State
from mediator.model.policies import Policy

# fmt: off
_DURATIONS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600,
)
_DELAYS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 86400,
)
# fmt: on
_TEMPORARY = 75
"""EX_TEMPFAIL of sysexits: the script itself asks to be tried again."""


def code_class(ended: Ended, policy: Policy) -> str:
    """What an exit code means: one of 0, 75, give_up, other, or none where there is no code."""
    code = ended.exit_code
    if code is None:
        return "none"
    if code in policy.give_up_on:
        return "give_up"
    return str(code) if code in {0, _TEMPORARY} else "other"


class Attempts:
    """What happens to deliveries between their acceptance and their end."""

    def __init__(self, registry: CollectorRegistry, names: ScriptNames) -> None:
        self._names = names
        self._counting(registry)
        self._timing(registry)
        for state in ENDED:
            self.removed.labels(state)

    def _counting(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "mediator_attempts",
            "Attempts that ended, by outcome and by what the exit code means.",
            ["script", "outcome", "code"],
            registry=registry,
        )
        self._ended = Counter(
            "mediator_deliveries_ended",
            "Deliveries that ended, by state.",
            ["script", "calls", "state"],
            registry=registry,
        )
        self._ended_by_event = Counter(
            "mediator_event_deliveries_ended",
            "Deliveries that ended, by SCW_EVENT (none: it was not set) and state.",
            ["event", "state"],
            registry=registry,
        )
        self._retried = Counter(
            "mediator_deliveries_retried",
            "Deliveries that an operator had made again.",
            ["script"],
            registry=registry,
        )
        self.recovered = Counter(
            "mediator_deliveries_recovered",
            "Deliveries put back after a mediator stopped while running them.",
            registry=registry,
        )
        self.removed = Counter(
            "mediator_deliveries_removed",
            "Deliveries removed because they ended long ago, by state.",
            ["state"],
            registry=registry,
        )

    def _timing(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "mediator_attempt_duration_seconds",
            "Time an attempt took.",
            ["script"],
            buckets=_DURATIONS,
            registry=registry,
        )
        self._start_delay = Histogram(
            "mediator_delivery_start_delay_seconds",
            "Time from acceptance of a delivery to its first attempt.",
            ["script"],
            buckets=_DELAYS,
            registry=registry,
        )
        self._end_delay = Histogram(
            "mediator_delivery_end_delay_seconds",
            "Time from acceptance of a delivery, or from an operator's retry, to its end.",
            ["script"],
            buckets=_DELAYS,
            registry=registry,
        )

    def begin(self, script: str, *, interactive: bool) -> None:
        """Count from 0 for a script."""
        for state in ENDED:
            self._ended.labels(script, calls_label(interactive=interactive), state)

    def started(self, delivery: Delivery, at: datetime) -> None:
        """The first attempt of a delivery starts."""
        histogram = self._start_delay.labels(self._names.label(delivery.script))
        seconds = (at - delivery.received).total_seconds()
        histogram.observe(max(0.0, seconds), exemplar=_exemplar(delivery))

    def attempted(
        self, delivery: Delivery, ended: Ended, *, policy: Policy, seconds: float
    ) -> None:
        """An attempt ended after `seconds`."""
        script, exemplar = self._names.label(delivery.script), _exemplar(delivery)
        code = code_class(ended, policy)
        self._attempts.labels(script, ended.outcome, code).inc(exemplar=exemplar)
        self._duration.labels(script).observe(max(0.0, seconds), exemplar=exemplar)

    def lost(self, fate: Fate) -> None:
        """An attempt was lost with the mediator that made it."""
        script = self._names.label(fate.script)
        self._attempts.labels(script, Outcome.LOST, "none").inc(exemplar=_exemplar(fate))
        self.recovered.inc(exemplar=_exemplar(fate))

    def ended(self, delivery: Delivery | Fate, state: State, at: datetime) -> None:
        """A delivery ended, whoever ended it."""
        script, exemplar = self._names.label(delivery.script), _exemplar(delivery)
        calls = calls_label(interactive=delivery.interactive)
        self._ended.labels(script, calls, state).inc(exemplar=exemplar)
        self._ended_by_event.labels(event_label(delivery.event), state).inc(exemplar=exemplar)
        seconds = (at - delivery.budget_start).total_seconds()
        self._end_delay.labels(script).observe(max(0.0, seconds), exemplar=exemplar)

    def retried(self, delivery: Delivery) -> None:
        """An operator had a delivery made again."""
        self._retried.labels(self._names.label(delivery.script)).inc(exemplar=_exemplar(delivery))


def _exemplar(delivery: Delivery | Fate) -> dict[str, str]:
    return {"delivery_id": delivery.id}
