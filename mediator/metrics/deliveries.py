"""What becomes of deliveries, in the order of the questions that are asked of them.

Is it taking work: what was handed over, what was refused and why, who waited in vain. Is it keeping
up, and was anything lost: what waits and runs, and how much is in the store. What fails and why,
and who is slow: attempts, and how deliveries ended.
"""

from __future__ import annotations

from collections import Counter as Sum
from collections.abc import Callable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mediator.errors import (
    BadRequest,
    Conflict,
    Crowded,
    DeadlineMissed,
    Draining,
    Forbidden,
    Full,
    KeyReused,
    MediatorError,
    NotATicket,
    NotFound,
    NotReady,
    ScriptFailed,
    StoreUnavailable,
    TooLarge,
    TooSlow,
    Unauthenticated,
)
from mediator.metrics.labels import ScriptNames, Snapshot, calls_label, event_label
from mediator.metrics.recent import Recent
from mediator.model.delivery import (
    ENDED,
    Calls,
    Census,
    Delivery,
    Ended,
    Fate,
    NewDelivery,
    Outcome,
    Repeat,
    State,
)
from mediator.model.policy import Policy, Trouble
from mediator.model.signatures import Reason

REFUSALS: tuple[type[MediatorError], ...] = (
    BadRequest,
    NotATicket,
    Unauthenticated,
    Forbidden,
    NotFound,
    NotReady,
    Conflict,
    TooLarge,
    TooSlow,
    KeyReused,
    ScriptFailed,
    DeadlineMissed,
    StoreUnavailable,
    Full,
    Crowded,
    Draining,
)
"""Errors that a hand-over can be answered with."""

# fmt: off
_DURATIONS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600,
)
_DELAYS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 86400,
)
_ANSWERS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
)
# fmt: on
_SCRIPT = ("script", "calls")
_TOKEN = "token"  # noqa: S105 - the word, not a token
"""The reason where a bearer token was refused instead of a signature."""
_CRASH = "crash"
_TEMPORARY = 75
"""EX_TEMPFAIL of sysexits: the script itself asks to be tried again."""


class IntakeMetrics:
    """What happens to hand-overs until they are answered."""

    def __init__(self, registry: CollectorRegistry, names: ScriptNames, recent: Recent) -> None:
        self._names, self._recent = names, recent
        self._define_accepted(registry)
        self._define_refused(registry)
        self._define_answers(registry)
        for error in REFUSALS:
            self._rejected.labels(int(error.status), error.word)
        for reason in (*Reason, _TOKEN):
            self._signature_failures.labels(reason)

    def _define_accepted(self, registry: CollectorRegistry) -> None:
        self._accepted = Counter(
            "mediator_deliveries_accepted",
            "Hand-overs answered with success; repeat: new, resent or duplicate.",
            ["script", "repeat"],
            registry=registry,
        )
        self._accepted_by_event = Counter(
            "mediator_event_deliveries_accepted",
            "Hand-overs answered with success, by SCW_EVENT (none: it was not set).",
            ["event", "repeat"],
            registry=registry,
        )
        self.events = Counter(
            "mediator_events",
            "Events handed over without naming a script; result: routed or unrouted.",
            ["result"],
            registry=registry,
        )

    def _define_refused(self, registry: CollectorRegistry) -> None:
        self._rejected = Counter(
            "mediator_requests_rejected",
            "Hand-overs refused, by HTTP status and reason.",
            ["status", "reason"],
            registry=registry,
        )
        self._signature_failures = Counter(
            "mediator_signature_failures",
            "Hand-overs whose signature was refused, by reason.",
            ["reason"],
            registry=registry,
        )

    def _define_answers(self, registry: CollectorRegistry) -> None:
        self._answered = Histogram(
            "mediator_handover_duration_seconds",
            "Time from a hand-over's headers to its answer; answer: accepted, answered by the"
            " script itself, or refused.",
            ["answer"],
            buckets=_ANSWERS,
            registry=registry,
        )
        self._missed = Counter(
            "mediator_interactive_deadline_missed",
            "Interactive calls whose script did not answer in time: answered with 504 or a"
            " fallback.",
            ["script"],
            registry=registry,
        )
        self._fallbacks = Counter(
            "mediator_fallbacks",
            "Interactive calls answered with the fallback of the script, by trouble.",
            ["script", "trouble"],
            registry=registry,
        )

    def begin(self, script: str) -> None:
        """Count from 0 for a script whose callers wait."""
        self._missed.labels(script)
        for trouble in Trouble:
            self._fallbacks.labels(script, trouble)

    def accepted(self, new: NewDelivery, repeat: Repeat, *, delivery_id: str) -> None:
        """A hand-over is kept, or was before."""
        if repeat is Repeat.NEW:
            self._recent.accepted()
        exemplar = {"delivery_id": delivery_id}
        script = self._names.label(new.script)
        self._accepted.labels(script, repeat).inc(exemplar=exemplar)
        event = event_label(new.event)
        self._accepted_by_event.labels(event, repeat).inc(exemplar=exemplar)

    def rejected(self, error: MediatorError) -> None:
        """A hand-over was refused."""
        self._rejected.labels(int(error.status), error.word).inc()
        if isinstance(error, Unauthenticated):
            self._signature_failures.labels(error.reason).inc()

    def crashed(self) -> None:
        """A hand-over met a fault in the mediator itself."""
        self._rejected.labels(500, _CRASH).inc()

    def answered(self, answer: str, seconds: float) -> None:
        """A hand-over got its answer."""
        self._answered.labels(answer).observe(seconds)

    def missed(self, script: str) -> None:
        """Somebody waited in vain."""
        self._missed.labels(self._names.label(script)).inc()

    def fallback(self, script: str, trouble: Trouble) -> None:
        """Somebody got the fallback."""
        self._fallbacks.labels(self._names.label(script), trouble).inc()


class BacklogMetrics:
    """The deliveries that there are, and the room for them."""

    def __init__(self, registry: CollectorRegistry, names: ScriptNames) -> None:
        self._names = names
        self._define_totals(registry)
        self._define_by_script(registry)
        self._define_limits(registry)

    def _define_totals(self, registry: CollectorRegistry) -> None:
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

    def _define_by_script(self, registry: CollectorRegistry) -> None:
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

    def _define_limits(self, registry: CollectorRegistry) -> None:
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


class AttemptMetrics:
    """What happens to deliveries between their acceptance and their end."""

    def __init__(self, registry: CollectorRegistry, names: ScriptNames, recent: Recent) -> None:
        self._names, self._recent = names, recent
        self._define_counts(registry)
        self._define_times(registry)
        for state in ENDED:
            self.removed.labels(state)

    def _define_counts(self, registry: CollectorRegistry) -> None:
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

    def _define_times(self, registry: CollectorRegistry) -> None:
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
        self._recent.attempted(script, ended.outcome)

    def lost(self, fate: Fate) -> None:
        """An attempt was lost with the mediator that made it."""
        script = self._names.label(fate.script)
        self._attempts.labels(script, Outcome.LOST, "none").inc(exemplar=_exemplar(fate))
        self.recovered.inc(exemplar=_exemplar(fate))
        self._recent.attempted(script, Outcome.LOST)

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


def code_class(ended: Ended, policy: Policy) -> str:
    """What an exit code means: one of 0, 75, give_up, other, or none where there is no code."""
    code = ended.exit_code
    if code is None:
        return "none"
    if code in policy.give_up_on:
        return "give_up"
    return str(code) if code in {0, _TEMPORARY} else "other"
