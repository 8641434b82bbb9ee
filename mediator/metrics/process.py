"""How is the daemon itself? Whether it is ready, its event loop, its memory, its version."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

import mediator
from mediator.metrics.snapshot import Snapshot

_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Process:
    """The daemon. `process_*` and `python_*` have the names that every Python program gives."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ready = Snapshot(
            "mediator_ready",
            "Whether a part can do its work: 1, or 0; /readyz says why not.",
            ["part"],
            registry=registry,
        )
        self.lag = Histogram(
            "mediator_event_loop_lag_seconds",
            "How late the event loop was, looked at twice a second.",
            buckets=_LAGS,
            registry=registry,
        )
        build = Info("mediator_build", "The running version.", registry=registry)
        build.info({"version": mediator.__version__})
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def show(self, ready: Mapping[str, bool]) -> None:
        """Part → whether it can do its work."""
        self._ready.replace({(part,): float(is_ready) for part, is_ready in ready.items()})
