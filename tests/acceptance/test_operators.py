"""The operator API: what retry and cancel do in each state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uuid_utils

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.scripts import OK, gated, interactive


@contextmanager
def started(home: Path) -> Iterator[Mediator]:
    mediator = Mediator(home, settings={"dispatch": {"slots": 2}})
    mediator.script("ok.sh", OK)
    mediator.script("gives-up.sh", "#!/bin/sh\nexit 77\n")
    mediator.script("gated.py", "#!/usr/bin/env python3\n" + gated(home / "gate", home / "started"))
    mediator.script("condition.py", interactive("print('yes')"))
    with mediator:
        yield mediator


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """For tests that act on deliveries of their own."""
    with started(tmp_path_factory.mktemp("mediator")) as mediator:
        yield mediator


@pytest.fixture
async def client(mediator: Mediator) -> AsyncIterator[Client]:
    """Talks to it."""
    async with Client(mediator.url) as client:
        yield client


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Client]:
    """Talks to a mediator that no other test uses."""
    with started(tmp_path) as mediator:
        async with Client(mediator.url) as client:
            yield client


class TestRetryAndCancel:
    async def ended(self, client: Client, script: str) -> str:
        handover = Handover(script=script, arguments=[uuid_utils.uuid4().hex])
        answer = await client.hand_over(handover)
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
        self, own: Client, tmp_path: Path
    ) -> None:
        for n in range(2):
            await own.hand_over(Handover(script="gated", arguments=[str(n)]))
        await own.until_running(2)
        waiting = (await own.hand_over(Handover(script="ok"))).delivery
        assert (await own.post(f"/v1/deliveries/{waiting}/retry")).status == 200
        answer = await own.post(f"/v1/deliveries/{waiting}/cancel")
        assert answer.json()["state"] == "cancelled"
        assert "ops" in answer.json()["last_error"]
        assert (await own.post(f"/v1/deliveries/{waiting}/cancel")).status == 409
        again = (await own.hand_over(Handover(script="ok"))).delivery
        assert again != waiting, "what was cancelled is no duplicate"
        assert (await own.post(f"/v1/deliveries/{waiting}/retry")).status == 200
        (tmp_path / "gate").touch()
        await own.until(waiting, "succeeded")

    async def test_who_did_it_is_logged(self, mediator: Mediator, client: Client) -> None:
        delivery = await self.ended(client, "ok")
        await client.post(f"/v1/deliveries/{delivery}/retry")
        lines = mediator.events("delivery retried")
        (line,) = [line for line in lines if line["delivery_id"] == delivery]
        assert line["by"] == "ops"

    @pytest.mark.parametrize("action", ["retry", "cancel"])
    async def test_an_unknown_delivery_is_not_found(self, client: Client, action: str) -> None:
        assert (await client.post(f"/v1/deliveries/nope/{action}")).status == 404
