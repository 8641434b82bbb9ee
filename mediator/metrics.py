"""The metrics, one object with a registry of its own. docs/metrics.md lists them.

Label values come from closed sets: scripts of the catalog, and the words of the model.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client import generate_latest as _generate

import mediator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 86400)


# A series that says when another began doubles the page and answers no question here.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Everything the mediator counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._intake()
        self._attempts()
        self._state()

    def _intake(self) -> None:
        self.accepted = Counter(
            "mediator_deliveries_accepted",
            "Hand-overs answered with success; repeat: new, resent or duplicate.",
            ["script", "repeat"],
            registry=self.registry,
        )
        self.rejected = Counter(
            "mediator_requests_rejected",
            "Hand-overs refused, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self.signature_failures = Counter(
            "mediator_signature_failures",
            "Hand-overs whose signature was refused, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.deadline_missed = Counter(
            "mediator_interactive_deadline_missed",
            "Interactive calls answered with 504.",
            ["script"],
            registry=self.registry,
        )

        self.fallbacks = Counter(
            "mediator_fallbacks",
            "Interactive calls answered with the fallback of the script, by trouble.",
            ["script", "trouble"],
            registry=self.registry,
        )
        self.events = Counter(
            "mediator_events",
            "Events handed over without naming a script; result: routed or unrouted.",
            ["result"],
            registry=self.registry,
        )

    def _attempts(self) -> None:
        self.attempts = Counter(
            "mediator_attempts",
            "Attempts that ended, by outcome.",
            ["script", "outcome"],
            registry=self.registry,
        )
        self.ended = Counter(
            "mediator_deliveries_ended",
            "Deliveries that ended, by state.",
            ["script", "state"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "mediator_attempt_duration_seconds",
            "Time an attempt took.",
            ["script"],
            buckets=_DURATIONS,
            registry=self.registry,
        )
        self.delay = Histogram(
            "mediator_delivery_start_delay_seconds",
            "Time from acceptance of a delivery to its first attempt.",
            ["script"],
            buckets=_DELAYS,
            registry=self.registry,
        )
        self.recovered = Counter(
            "mediator_deliveries_recovered",
            "Deliveries put back after a mediator stopped while running them.",
            registry=self.registry,
        )

        self.removed = Counter(
            "mediator_deliveries_removed",
            "Deliveries removed because they ended long ago, by state.",
            ["state"],
            registry=self.registry,
        )

    def _state(self) -> None:
        self.slots = Gauge(
            "mediator_slots", "Attempts that may run at once.", ["calls"], registry=self.registry
        )
        self.running = Gauge(
            "mediator_attempts_running", "Attempts running.", ["calls"], registry=self.registry
        )
        self.pending = Gauge(
            "mediator_deliveries_pending",
            "Deliveries waiting for their first or next attempt.",
            registry=self.registry,
        )
        self.oldest = Gauge(
            "mediator_oldest_pending_age_seconds",
            "Age of the oldest pending delivery; 0 when none is pending.",
            registry=self.registry,
        )
        self.dead = Gauge(
            "mediator_deliveries_dead", "Deliveries that are dead.", registry=self.registry
        )
        self.scripts = Gauge(
            "mediator_scripts",
            "Scripts, by whether they can run.",
            ["ready"],
            registry=self.registry,
        )
        self.reloads = Counter(
            "mediator_catalog_reloads",
            "Times the scripts were read because something had changed; result: ok or failed.",
            ["result"],
            registry=self.registry,
        )
        self.builds = Counter(
            "mediator_environment_builds",
            "Environments of scripts that were built; result: ok or failed.",
            ["result"],
            registry=self.registry,
        )
        self.store_errors = Counter(
            "mediator_store_errors",
            "Times the store could not be used.",
            registry=self.registry,
        )
        self.free = Gauge(
            "mediator_store_free_bytes",
            "Space left on the disk of the store; intake stops below store.disk_floor.",
            registry=self.registry,
        )
        build = Info("mediator_build", "The running version.", registry=self.registry)
        build.info({"version": mediator.__version__})

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        return _generate(self.registry)
