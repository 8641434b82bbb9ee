"""Gauges whose series are replaced all at once, so that none stays of what is gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class Snapshot(Collector):
    """One gauge with labels, as it was when somebody last looked."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        registry: CollectorRegistry,
    ) -> None:
        self.name, self.labels = name, tuple(labels)
        self._documentation = documentation
        self._values: Mapping[tuple[str, ...], float] = {}
        registry.register(self)

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Label values, in the order of the labels → value; other series are gone."""
        self._values = dict(values)

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        family = GaugeMetricFamily(self.name, self._documentation, labels=self.labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family
