"""Is the shim in its pods? What `mediator shim watch` shows; it is a process of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mediator.metrics.registry import Page, page
from mediator.metrics.system import ProcessMetrics

KEPT, DRIFTED, UNREACHABLE = "kept", "drifted", "unreachable"
STATES = (KEPT, DRIFTED, UNREACHABLE)
"""What a pod can be: all files are there and the mediator is reachable from it; something is
missing or differs; it cannot be looked at, or does not reach the mediator."""
_DELAYS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class KeeperMetrics:
    """Everything that the keeper counts, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessMetrics(self.registry)
        self.pods = Gauge(
            "mediator_shim_pods",
            "Pods of SecureChange, by what is known of the shim in them.",
            ["state"],
            registry=self.registry,
        )
        self.checks = Counter(
            "mediator_shim_checks",
            "Looks at a pod; result: ok, repaired or failed.",
            ["result"],
            registry=self.registry,
        )
        self.written = Counter(
            "mediator_shim_files_written",
            "Files of the shim that were put back, by how they had differed.",
            ["drift"],
            registry=self.registry,
        )
        self.repair_delay = Histogram(
            "mediator_shim_repair_delay_seconds",
            "Time from seeing a container run to all files of the shim being in it.",
            buckets=_DELAYS,
            registry=self.registry,
        )
        self.watching = Gauge(
            "mediator_shim_watching",
            "Whether pods are watched: 1, or 0 while the API server cannot be asked.",
            registry=self.registry,
        )
        self._begin()

    def _begin(self) -> None:
        """From a series that begins at 1 Prometheus cannot tell that anything has happened."""
        for state in STATES:
            self.pods.labels(state)
        for result in ("ok", "repaired", "failed"):
            self.checks.labels(result)
        for drift in ("missing", "content", "mode", "other"):
            self.written.labels(drift)

    def page(self, accept: str = "") -> Page:
        """What Prometheus scrapes; `accept`: the header by which it says what it can read."""
        return page(self.registry, accept)
