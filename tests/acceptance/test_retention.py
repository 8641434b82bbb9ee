"""Deliveries that ended long ago are removed by the daemon itself, and others are not."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK

FAIL = "#!/bin/sh\nexit 65\n"


def age(mediator: Mediator, delivery_id: str, by: timedelta) -> None:
    """Make a delivery older while the mediator does not run."""
    connection = sqlite3.connect(mediator.home / "state" / "mediator.db")
    with connection:
        changed = connection.execute(
            "UPDATE deliveries SET received = received - :by, ended = ended - :by WHERE id = :id",
            {"by": by // timedelta(microseconds=1), "id": delivery_id},
        )
        assert changed.rowcount == 1
    connection.close()


async def test_what_ended_long_ago_is_removed(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("ok.sh", OK)
    mediator.script("fail.sh", FAIL)
    with mediator:
        async with Client(mediator.url) as client:
            old, young, dead = [
                (await client.hand_over(Handover(script=script, arguments=[name]))).delivery
                for script, name in (("ok.sh", "old"), ("ok.sh", "young"), ("fail.sh", "dead"))
            ]
            await client.until(old, "succeeded")
            await client.until(young, "succeeded")
            await client.until(dead, "dead")
        mediator.terminate()
        for delivery_id in (old, dead):
            age(mediator, delivery_id, timedelta(days=31))
        mediator.start()
        async with Client(mediator.url) as client:
            await eventually(
                lambda: client.get(f"/v1/deliveries/{old}"), until=lambda a: a.status == 404
            )
            assert (await client.delivery(young))["state"] == "succeeded"
            assert (await client.delivery(dead))["state"] == "dead"
            name = "mediator_deliveries_removed_total"
            assert await client.sample(name, state="succeeded") == 1
            assert await client.sample(name, state="dead") == 0
