"""What became of the tickets of a load."""

from __future__ import annotations

from tests.support.cluster import Load, Namespace
from tests.support.conditions import eventually_true


def until_done(space: Namespace, load: Load) -> None:
    """Wait until every ticket that was handed over has had its run, each of them once.

    Nobody was refused: the shim tries again for longer than an upgrade takes.
    """
    statuses = load.statuses()
    assert statuses
    assert set(statuses.values()) == {0}, load.log()
    wanted = dict.fromkeys(statuses, "succeeded")
    eventually_true(lambda: _states(space) == wanted, seconds=120)
    attempts = {delivery["attempts_made"] for delivery in _triggers(space)}
    assert attempts <= {1, 2}  # a second one for what a stop cut short


def _triggers(space: Namespace) -> list[dict[str, object]]:
    """Without those of `helm test`."""
    return [delivery for delivery in space.deliveries() if delivery["event"] == "CREATE"]


def _states(space: Namespace) -> dict[int, str]:
    found = [
        (int(d["ticket"]["id"]), d["state"]) for d in space.deliveries() if d["event"] == "CREATE"
    ]
    assert len({number for number, _ in found}) == len(found), "a ticket was kept twice"
    return dict(found)
