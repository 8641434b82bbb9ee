"""A store measures itself, and counts what only it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.delivery import State
from mediator.storage.sqlite import SqliteStore
from mediator.storage.transitions import MOST_LOSSES
from tests.support.store import LEASE, SECOND, START, Desk


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def desk(path: Path, metrics: Metrics) -> AsyncIterator[Desk]:
    store = SqliteStore(path, metrics=metrics)
    await store.start()
    yield Desk(store)
    await store.close()


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def ended(metrics: Metrics, state: str, *, calls: str = "trigger") -> float:
    labels = {"script": "a.py", "calls": calls, "state": state}
    return value(metrics, "mediator_deliveries_ended_total", **labels)


def lost(metrics: Metrics) -> float:
    labels = {"script": "a.py", "outcome": "lost", "code": "none"}
    return value(metrics, "mediator_attempts_total", **labels)


async def test_a_lost_attempt_is_counted_and_so_is_the_end_that_it_leads_to(
    desk: Desk, metrics: Metrics
) -> None:
    delivery_id = await desk.accept()
    for losses in range(1, MOST_LOSSES + 1):
        assert ended(metrics, "dead") == 0
        await desk.claim()
        desk.later(2 * LEASE.total_seconds())
        await desk.store.recover(await desk.store.held(), now=desk.now)
        assert lost(metrics) == losses
        assert value(metrics, "mediator_deliveries_recovered_total") == losses
    assert await desk.state(delivery_id) is State.DEAD
    assert ended(metrics, "dead") == 1


async def test_what_is_cancelled_before_it_runs_is_counted(desk: Desk, metrics: Metrics) -> None:
    delivery_id = await desk.accept()
    await desk.store.cancel(delivery_id, now=desk.now + SECOND, reason="by ops")
    assert ended(metrics, "cancelled") == 1
    assert value(metrics, "mediator_delivery_end_delay_seconds_sum", script="a.py") == 1


async def test_what_is_only_asked_to_stop_has_not_ended(desk: Desk, metrics: Metrics) -> None:
    delivery_id = await desk.accept()
    await desk.claim()
    await desk.store.cancel(delivery_id, now=desk.now, reason="by ops")
    assert ended(metrics, "cancelled") == 0


async def test_a_call_for_which_no_slot_was_free_in_time_is_counted(
    desk: Desk, metrics: Metrics
) -> None:
    await desk.accept(interactive=True, expires=START + SECOND)
    await desk.store.expire(now=START + 2 * SECOND)
    assert ended(metrics, "cancelled", calls="interactive") == 1


async def test_an_operators_retry_is_counted(desk: Desk, metrics: Metrics) -> None:
    delivery_id = await desk.accept()
    await desk.store.retry(delivery_id, now=desk.now)
    assert value(metrics, "mediator_deliveries_retried_total", script="a.py") == 1


async def test_operations_are_timed_also_when_they_fail(desk: Desk, metrics: Metrics) -> None:
    await desk.accept()
    count = "mediator_store_operation_duration_seconds_count"
    assert value(metrics, count, operation="accept") == 1
    assert value(metrics, "mediator_store_errors_total") == 0
    await desk.store.close()
    with pytest.raises(StoreUnavailable):
        await desk.accept()
    assert value(metrics, count, operation="accept") == 2
    assert value(metrics, "mediator_store_errors_total") == 1
