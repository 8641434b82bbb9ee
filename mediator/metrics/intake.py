"""Is it taking work? What was handed over, what was refused and why, and who waited in vain."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

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
from mediator.metrics.names import ScriptNames, event_label
from mediator.model.deliveries import NewDelivery, Repeat
from mediator.model.keys import Reason
from mediator.model.policies import Trouble

_ANSWERS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
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
_TOKEN = "token"  # noqa: S105 - the word, not a token
"""The reason where a bearer token was refused instead of a signature."""
_CRASH = "crash"


class Intake:
    """What happens to hand-overs until they are answered."""

    def __init__(self, registry: CollectorRegistry, names: ScriptNames) -> None:
        self._names = names
        self._accepting(registry)
        self._refusing(registry)
        self._answering(registry)
        for error in REFUSALS:
            self._rejected.labels(int(error.status), error.word)
        for reason in (*Reason, _TOKEN):
            self._signature_failures.labels(reason)

    def _accepting(self, registry: CollectorRegistry) -> None:
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

    def _refusing(self, registry: CollectorRegistry) -> None:
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

    def _answering(self, registry: CollectorRegistry) -> None:
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
