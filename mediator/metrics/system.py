"""How is the mediator itself? Its store and disk, its process, and the scripts that it has.

Will it fill up, and is it slow; is every part ready, how late is the event loop; can every script
run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

import mediator
from mediator.errors import StoreUnavailable
from mediator.metrics.labels import Snapshot

_OPERATIONS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BUILDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
PARENTS = ("starting", "ready", "failed")
"""What a warm parent can be."""


class StoreMetrics:
    """How the store is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.errors = Counter(
            "mediator_store_errors",
            "Times the store could not be used.",
            registry=registry,
        )
        self.duration = Histogram(
            "mediator_store_operation_duration_seconds",
            "Time the store took, by operation; with its commit where it writes.",
            ["operation"],
            buckets=_OPERATIONS,
            registry=registry,
        )
        self._size = Gauge(
            "mediator_store_size_bytes",
            "Size of the database; NaN while it cannot be told.",
            registry=registry,
        )
        self._free = Gauge(
            "mediator_store_free_bytes",
            "Space left on the disk of the store; intake stops below store.disk_floor.",
            registry=registry,
        )
        self.floor = Gauge(
            "mediator_store_floor_bytes",
            "Space left on the disk below which intake answers 503 (store.disk_floor).",
            registry=registry,
        )

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Time something that is asked of the store, and count that it could not be used."""
        began = perf_counter()
        try:
            yield
        except StoreUnavailable:
            self.errors.inc()
            raise
        finally:
            self.duration.labels(operation).observe(perf_counter() - began)

    def show(self, *, size: int | None, free: int | None) -> None:
        """Bytes that it takes, and that are left; None: it cannot tell."""
        self._size.set(nan if size is None else size)
        self._free.set(nan if free is None else free)


class ProcessMetrics:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownScript:
    """What is shown of one script."""

    ready: bool
    timeout: float
    """seconds, by its policy"""


class CatalogMetrics:
    """The scripts that there are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._define_scripts(registry)
        self._define_environments(registry)
        for counter in (self.reloads, self.builds):
            for result in ("ok", "failed"):
                counter.labels(result)

    def _define_scripts(self, registry: CollectorRegistry) -> None:
        self._scripts = Gauge(
            "mediator_scripts",
            "Scripts, by whether they can run.",
            ["ready"],
            registry=registry,
        )
        self._ready = Snapshot(
            "mediator_script_ready",
            "Whether a script can run: 1, or 0; /readyz and `mediator scripts` say why not.",
            ["script"],
            registry=registry,
        )
        self._timeout = Snapshot(
            "mediator_script_timeout_seconds",
            "After how long an attempt of a script is stopped.",
            ["script"],
            registry=registry,
        )
        self.reloads = Counter(
            "mediator_catalog_reloads",
            "Times the scripts were read because something had changed; result: ok or failed.",
            ["result"],
            registry=registry,
        )

    def _define_environments(self, registry: CollectorRegistry) -> None:
        self.builds = Counter(
            "mediator_environment_builds",
            "Environments of scripts that were built; result: ok or failed.",
            ["result"],
            registry=registry,
        )
        self.build_duration = Histogram(
            "mediator_environment_build_duration_seconds",
            "Time a build of an environment took that succeeded.",
            buckets=_BUILDS,
            registry=registry,
        )
        self._parents = Gauge(
            "mediator_warm_parents",
            "Interpreters that warm scripts are forked from; state: starting, ready or failed.",
            ["state"],
            registry=registry,
        )

    def parents(self, state: str, count: Callable[[], float]) -> None:
        """Who tells how many warm parents are in this state."""
        self._parents.labels(state).set_function(count)

    def show(self, scripts: Mapping[str, ShownScript]) -> None:
        """The scripts as they are now."""
        for ready in (True, False):
            count = sum(script.ready is ready for script in scripts.values())
            self._scripts.labels(str(ready).lower()).set(count)
        self._ready.replace({(name,): script.ready for name, script in scripts.items()})
        self._timeout.replace({(name,): script.timeout for name, script in scripts.items()})
