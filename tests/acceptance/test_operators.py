"""The operator API: what retry and cancel do in each state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK, gated, interactive


@pytest.fixture
def mediator(tmp_path: Path) -> Mediator:
    """Not yet started."""
    mediator = Mediator(tmp_path, settings={"dispatch": {"slots": 2}})
    mediator.script("ok.sh", OK)
    mediator.script("gives-up.sh", "#!/bin/sh\nexit 77\n")
    mediator.script(
        "gated.py", "#!/usr/bin/env python3\n" + gated(tmp_path / "gate", tmp_path / "started")
    )
    mediator.script("condition.py", interactive("print('yes')"))
    return mediator


@pytest.fixture
async def client(mediator: Mediator) -> AsyncIterator[Client]:
    """Talks to it; it runs as long as this is used."""
    with mediator:
        async with Client(mediator.url) as client:
            yield client


class TestRetryAndCancel:
    async def ended(self, client: Client, script: str) -> str:
        answer = await client.hand_over(Handover(script=script))
        await client.until(answer.delivery, "succeeded", "dead")
        return answer.delivery

    @pytest.mark.parametrize(
        ("script", "state"), [("ok", "succeeded"), ("gives-up", "dead"), ("condition", "succeeded")]
    )
    async def test_what_has_ended_runs_once_more_by_retry(
        self, client: Client, script: str, state: str
    ) -> None:
        delivery = await self.ended(client, script)
        answer = await client.post(f"/v1/deliveries/{delivery}/retry")
        assert answer.status == 200
        assert answer.json()["state"] == "pending"

        found = await eventually(
            lambda: client.delivery(delivery), until=lambda seen: seen["attempts_made"] == 2
        )
        found = await client.until(delivery, "succeeded", "dead")
        assert found["state"] == state

    @pytest.mark.parametrize("script", ["ok", "gives-up"])
    async def test_what_has_ended_cannot_be_cancelled(self, client: Client, script: str) -> None:
        delivery = await self.ended(client, script)
        answer = await client.post(f"/v1/deliveries/{delivery}/cancel")
        assert answer.status == 409
        assert "ended" in answer.detail

    async def test_what_runs_is_not_retried_but_stopped(self, client: Client) -> None:
        delivery = (await client.hand_over(Handover(script="gated"))).delivery
        await client.until(delivery, "running")
        assert (await client.post(f"/v1/deliveries/{delivery}/retry")).status == 409
        assert (await client.post(f"/v1/deliveries/{delivery}/cancel")).status == 200
        found = await client.until(delivery, "cancelled")
        assert found["attempts"][0]["outcome"] == "cancelled"
        assert found["last_error"] == "cancelled by ops"

    async def test_what_waits_is_cancelled_and_can_be_taken_up_again(
        self, client: Client, tmp_path: Path
    ) -> None:
        for n in range(2):
            await client.hand_over(Handover(script="gated", arguments=[str(n)]))
        await client.until_running(2)
        waiting = (await client.hand_over(Handover(script="ok"))).delivery
        assert (await client.post(f"/v1/deliveries/{waiting}/retry")).status == 200
        answer = await client.post(f"/v1/deliveries/{waiting}/cancel")
        assert answer.json()["state"] == "cancelled"
        assert "ops" in answer.json()["last_error"]
        assert (await client.post(f"/v1/deliveries/{waiting}/cancel")).status == 409
        again = (await client.hand_over(Handover(script="ok"))).delivery
        assert again != waiting, "what was cancelled is no duplicate"
        assert (await client.post(f"/v1/deliveries/{waiting}/retry")).status == 200
        (tmp_path / "gate").touch()
        await client.until(waiting, "succeeded")

    async def test_who_did_it_is_logged(self, mediator: Mediator, client: Client) -> None:
        delivery = await self.ended(client, "ok")
        await client.post(f"/v1/deliveries/{delivery}/retry")
        (line,) = mediator.events("delivery retried")
        assert (line["by"], line["delivery_id"]) == ("ops", delivery)

    @pytest.mark.parametrize("action", ["retry", "cancel"])
    async def test_an_unknown_delivery_is_not_found(self, client: Client, action: str) -> None:
        assert (await client.post(f"/v1/deliveries/nope/{action}")).status == 404
