"""Will it fill up, and is it slow? The store and its disk."""

from __future__ import annotations

from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_OPERATIONS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip


class Store:
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

    def show(self, *, size: int | None, free: int | None) -> None:
        """Bytes that it takes, and that are left; None: it cannot tell."""
        self._size.set(nan if size is None else size)
        self._free.set(nan if free is None else free)
