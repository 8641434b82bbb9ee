"""Reading what was counted, the way Prometheus would."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry


class Counted(Protocol):
    """What counts in a registry of its own: the mediator's metrics, or the keeper's."""

    @property
    def registry(self) -> CollectorRegistry:
        """Holds every series."""
        ...


def sample(metrics: Counted, name: str, **labels: str) -> float:
    """The value of one series; 0 where nothing has begun it."""
    return metrics.registry.get_sample_value(name, labels) or 0.0
