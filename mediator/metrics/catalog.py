"""Can every script run? The catalog, the environments of its scripts, and warm parents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mediator.metrics.snapshot import Snapshot

_BUILDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
PARENTS = ("starting", "ready", "failed")
"""What a warm parent can be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What is shown of one script."""

    ready: bool
    timeout: float
    """seconds, by its policy"""


class Catalog:
    """The scripts that there are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._files(registry)
        self._environments(registry)
        for counter in (self.reloads, self.builds):
            for result in ("ok", "failed"):
                counter.labels(result)

    def _files(self, registry: CollectorRegistry) -> None:
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

    def _environments(self, registry: CollectorRegistry) -> None:
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

    def show(self, scripts: Mapping[str, Shown]) -> None:
        """The scripts as they are now."""
        for ready in (True, False):
            count = sum(script.ready is ready for script in scripts.values())
            self._scripts.labels(str(ready).lower()).set(count)
        self._ready.replace({(name,): script.ready for name, script in scripts.items()})
        self._timeout.replace({(name,): script.timeout for name, script in scripts.items()})
