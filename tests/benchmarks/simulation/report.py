"""What a simulated run says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.simulation.cluster import Cluster
from tests.benchmarks.simulation.given import Given, Times

_ELASTIC = ("writer", "database log")
GROWS = 0.02
"""of what ends, above which the backlog grows by more than chance"""
FULL = 0.9
"""part of its time after which a resource counts as the one that breaks"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Figures of one run."""

    arrived: int
    ended: int
    lost: int
    retries: int
    waits: tuple[float, float, float]
    """seconds from acceptance to the first attempt: p50, p95, p99"""
    growth: float
    """deliveries that wait more at the end than in the middle, in a minute"""
    most: int
    """that ever waited at once"""
    throughput: float
    """deliveries that ended in a minute, in the second half"""
    used: dict[str, float]
    """part of its time that each resource was busy while events arrived"""

    @property
    def busiest(self) -> str:
        """The resource that breaks first when more comes.

        What writes in groups looks busy long before it breaks: its groups grow. It is named only
        when nothing else is full and yet the backlog grows.
        """
        firm = {name: used for name, used in self.used.items() if name not in _ELASTIC}
        found = max(firm, key=firm.__getitem__)
        if firm[found] >= FULL or self.growth <= self.throughput * GROWS:
            return found
        return max(self.used, key=self.used.__getitem__)


def part(values: Sequence[float], share: float) -> float:
    """A percentile of sorted values; 0 when there is none."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def simulate(given: Given, times: Times, *, drain: float = 0.0) -> Report:
    """Run it and look at it."""
    cluster = Cluster(given, times).run()
    used = _used(cluster)
    cluster.engine.run(given.seconds + drain)
    waits = sorted(waited for at, waited in cluster.started if at >= given.warming)
    half = given.seconds / 2
    ended = sum(half <= at < given.seconds for at, _ in cluster.spent)
    return Report(
        arrived=cluster.arrived,
        ended=cluster.succeeded + cluster.dead,
        lost=cluster.lost,
        retries=cluster.retries,
        waits=(part(waits, 0.5), part(waits, 0.95), part(waits, 0.99)),
        growth=_growth(cluster),
        most=max(pending for _, pending in cluster.marks),
        throughput=ended / half * 60,
        used=used,
    )


def _growth(cluster: Cluster) -> float:
    seconds = cluster.given.seconds
    middle = next(pending for at, pending in cluster.marks if at >= seconds / 2)
    last = [pending for at, pending in cluster.marks if at <= seconds][-1]
    return (last - middle) / (seconds / 2) * 60


def _used(cluster: Cluster) -> dict[str, float]:
    given, database, mediators = cluster.given, cluster.database, cluster.mediators
    now = cluster.engine.now
    slots = sum(m.worked + sum(now - since for since in m.held.values()) for m in mediators)
    worked = {
        "slots": slots / given.slots,
        "interpreter": sum(m.interpreter.worked for m in mediators),
        "script cores": sum(m.cores.worked for m in mediators) / given.cores,
        "writer": sum(m.writer.worked for m in mediators),
    }
    used = {name: seconds / now / given.mediators for name, seconds in worked.items()}
    used["database cores"] = database.processor.worked / now / given.database_cores
    used["database log"] = database.log.worked / now
    return used
