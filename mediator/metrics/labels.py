"""Values of labels: from closed sets, whatever is sent and whatever the store holds.

A series of what is gone must not stay: a `Snapshot` replaces all of a gauge's series at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

OTHER = "other"
"""Stands for a script that is no longer there, and for an event that nobody knows."""

EVENTS = frozenset(
    {
        "TEST",
        "CREATE",
        "CLOSE",
        "CANCEL",
        "REJECT",
        "ADVANCE",
        "REDO",
        "RESUBMIT",
        "REOPEN",
        "RESOLVE",
        "AUTOMATION_FAILED",
        "PRE_ASSIGNMENT_SCRIPT",
    }
)
"""Values of `SCW_EVENT`; see docs/reference/securechange.md."""
NO_EVENT = "none"


class ScriptNames:
    """The scripts of the catalog."""

    def __init__(self) -> None:
        self._known: Mapping[str, bool] | None = None

    @property
    def calls(self) -> Iterable[tuple[str, bool]]:
        """The scripts that are known, each with whether a person waits for its answer."""
        return (self._known or {}).items()

    def know(self, scripts: Mapping[str, bool]) -> None:
        """These are the scripts there are now; the value: whether a person waits."""
        self._known = dict(scripts)

    def label(self, script: str) -> str:
        """The script's name, or `other`; before anything is known every name is taken."""
        return script if self._known is None or script in self._known else OTHER


def event_label(event: str) -> str:
    """A value of `SCW_EVENT`, `none` where it was not set, or `other`."""
    if not event:
        return NO_EVENT
    return event if event in EVENTS else OTHER


def calls_label(*, interactive: bool) -> str:
    """Who waits: `interactive` - a person does; `trigger` - nobody."""
    return "interactive" if interactive else "trigger"


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
