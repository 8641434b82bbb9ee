"""What the mediators count, beside what the store keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.faults.history import Kept
from tests.faults.verdict import MOST_LOSSES
from tests.support.mediator import Client, Mediator

_ACCEPTED, _ENDED = "mediator_deliveries_accepted_total", "mediator_deliveries_ended_total"
_GAUGES = {"mediator_deliveries_pending": "pending", "mediator_deliveries_dead": "dead"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """All mediators together."""

    accepted: float
    """new deliveries"""
    ended: Mapping[str, float]
    """by state"""
    gauges: tuple[Mapping[str, float], ...]
    """of each mediator: state → deliveries in it"""


async def read(mediators: Iterable[Mediator]) -> Counted:
    """Ask each of them."""
    accepted, ended, gauges = 0.0, Counter[str](), []
    for mediator in mediators:
        async with Client(mediator.url) as client:
            text = (await client.get("/metrics", token=None)).body.decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        accepted += sum(
            s.value for s in samples if s.name == _ACCEPTED and s.labels["repeat"] == "new"
        )
        for sample in samples:
            if sample.name == _ENDED:
                ended[sample.labels["state"]] += int(sample.value)
        gauges.append({_GAUGES[s.name]: s.value for s in samples if s.name in _GAUGES})
    return Counted(accepted=accepted, ended=ended, gauges=tuple(gauges))


def disagreements(
    counted: Counted, *, before: Iterable[Kept], after: Iterable[Kept]
) -> Iterator[str]:
    """Where what was counted since `before` is not what the store keeps now, one sentence each."""
    ended, known = {one.id: one for one in after}, {one.id for one in before}
    states = Counter(one.state for one in ended.values())
    for number, gauge in enumerate(counted.gauges, 1):
        for state, value in gauge.items():
            if value != states[state]:
                yield f"mediator {number} says {value:g} {state}; the store keeps {states[state]}"
    new = [one for delivery_id, one in ended.items() if delivery_id not in known]
    if counted.accepted != len(new):
        yield f"{counted.accepted:g} new deliveries were counted; the store has {len(new)} more"
    for state in ("succeeded", "dead"):
        # What a mediator's deaths end was ended by no attempt, and may not be counted.
        there = sum(one.state == state and one.losses < MOST_LOSSES for one in new)
        if counted.ended.get(state, 0) != there:
            yield f"{counted.ended.get(state, 0):g} {state} were counted; the store has {there}"
