"""What a script writes is seen while it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.conditions import DEADLINE, eventually
from tests.support.mediator import VIEWER, Client, Handover, Mediator
from tests.support.scripts import OK

STEPS = """#!/usr/bin/env python3
import os, sys, time
home, name = os.path.dirname(os.path.dirname(__file__)), sys.argv[1]
print("first", flush=True)
print("warned \\udcff", file=sys.stderr, flush=True) if "odd" in sys.argv else None
while not os.path.exists(os.path.join(home, name)):
    time.sleep(0.01)
print("last")
if "fail" in sys.argv and os.environ["MEDIATOR_ATTEMPT"] == "1":
    sys.exit(1)
"""
FLOOD = """#!/usr/bin/env python3
import sys
for number in range(4000):
    sys.stdout.write(str(number % 10) * 1000)
"""
Events = AsyncIterator[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def mediator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    made = Mediator(
        tmp_path_factory.mktemp("mediator"),
        settings={"dispatch": {"retry": {"first": "10ms", "longest": "10ms"}}},
    )
    made.script("steps.py", STEPS)
    made.script("flood.py", FLOOD)
    made.script("ok.sh", OK)
    with made:
        yield made


@pytest.fixture
async def client(mediator: Mediator) -> AsyncIterator[Client]:
    async with Client(mediator.url) as client:
        yield client


async def begun(client: Client, *arguments: str, script: str = "steps.py") -> str:
    answer = await client.hand_over(Handover(script=script, arguments=arguments))
    assert answer.status == 202, answer
    return answer.delivery


@asynccontextmanager
async def followed(client: Client, delivery: str, query: str = "?follow") -> AsyncIterator[Events]:
    async with client.session.get(
        f"{client.url}/v1/deliveries/{delivery}/output{query}",
        headers={"Authorization": f"Bearer {VIEWER}"},
    ) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield events(response)


async def events(response: aiohttp.ClientResponse) -> Events:
    name = ""
    async for line in response.content:
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


async def until(found: Events, name: str) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        async for event, data in found:
            if event == name:
                return data
    raise AssertionError(f"the stream ended without {name}")


async def test_output_comes_while_the_script_runs_and_the_end_after_it(
    mediator: Mediator, client: Client
) -> None:
    delivery = await begun(client, "gate-1")
    async with followed(client, delivery) as stream:
        assert (await until(stream, "attempt"))["outcome"] is None
        assert await until(stream, "stdout") == {"attempt": 1, "text": "first\n"}
        (mediator.home / "gate-1").touch()
        assert await until(stream, "stdout") == {"attempt": 1, "text": "last\n"}
        assert (await until(stream, "attempt"))["outcome"] == "ok"
        assert (await until(stream, "end"))["state"] == "succeeded"
        assert [event async for event in stream] == []


async def test_a_document_has_what_was_written_so_far(mediator: Mediator, client: Client) -> None:
    delivery = await begun(client, "gate-2")

    async def look() -> dict[str, Any]:
        return (await client.get(f"/v1/deliveries/{delivery}/output", token=VIEWER)).json()

    running = await eventually(look, until=lambda found: found["stdout"] == "first\n")
    assert running["running"] is True
    assert running["stdout_bytes"] == 6
    (mediator.home / "gate-2").touch()
    await client.until(delivery, "succeeded")
    ended = await look()
    assert (ended["running"], ended["stdout"]) == (False, "first\nlast\n")
    assert ended["attempt"] == 1


async def test_every_further_attempt_is_followed_too(mediator: Mediator, client: Client) -> None:
    delivery = await begun(client, "gate-3", "fail")
    async with followed(client, delivery) as stream:
        await until(stream, "stdout")
        (mediator.home / "gate-3").touch()
        seen = [(name, data) async for name, data in stream]
    told = [(data["number"], data["outcome"]) for name, data in seen if name == "attempt"]
    assert told == [(1, "failed"), (2, None), (2, "ok")]
    second = "".join(d["text"] for name, d in seen if name == "stdout" and d["attempt"] == 2)
    assert second == "first\nlast\n"
    assert seen[-1][0] == "end"


async def test_what_has_ended_is_told_from_the_store(mediator: Mediator, client: Client) -> None:
    (mediator.home / "gate-4").touch()
    delivery = await begun(client, "gate-4", "fail")
    await client.until(delivery, "succeeded")
    async with followed(client, delivery, "?follow&attempt=1") as stream:
        seen = [(name, data) async for name, data in stream]
    assert [name for name, _ in seen] == [
        "attempt", "stdout", "attempt", "attempt", "stdout", "attempt", "end",
    ]  # fmt: skip
    assert seen[1][1] == {"attempt": 1, "text": "first\nlast\n"}


async def test_bytes_that_are_no_text_are_replaced(mediator: Mediator, client: Client) -> None:
    (mediator.home / "gate-5").touch()
    mediator.script("bytes.sh", "#!/bin/bash\nprintf 'a\\xff\\xc3'; sleep 0.05; printf '\\xa9z'\n")
    await client.until_scripts("bytes.sh")
    delivery = await begun(client, script="bytes.sh")
    async with followed(client, delivery) as stream:
        seen = [data["text"] async for name, data in stream if name == "stdout"]
    assert "".join(seen) == "a\N{REPLACEMENT CHARACTER}\u00e9z"


async def test_a_flood_is_followed_to_its_end_and_what_was_missed_is_counted(
    client: Client,
) -> None:
    delivery = await begun(client, script="flood.py")
    size = 0
    async with followed(client, delivery) as stream:
        async for name, data in stream:
            if name == "stdout":
                assert data["attempt"] == 1
                size += len(data["text"])
            if name == "gap":
                size += data["bytes"]
    document = await client.delivery(delivery)
    assert size in {4_000_000, len(document["attempts"][0]["stdout"])}


async def test_text_is_for_people(mediator: Mediator, client: Client) -> None:
    (mediator.home / "gate-6").touch()
    delivery = await begun(client, "gate-6")
    await client.until(delivery, "succeeded")
    async with client.session.get(
        f"{client.url}/v1/deliveries/{delivery}/output",
        headers={"Authorization": f"Bearer {VIEWER}", "Accept": "text/plain"},
    ) as response:
        assert await response.text() == "first\nlast\n"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param("?attempt=0", 400, id="no number"),
        pytest.param("?attempt=x", 400, id="no number at all"),
        pytest.param("?follow=maybe", 400, id="neither true nor false"),
        pytest.param("?attempt=7", 404, id="no such attempt"),
        pytest.param("?attempt=7&follow", 404, id="no such attempt to follow"),
    ],
)
async def test_what_is_not_there_is_refused(client: Client, query: str, status: int) -> None:
    delivery = await begun(client, script="ok.sh")
    answer = await client.get(f"/v1/deliveries/{delivery}/output{query}")
    assert answer.status == status
    assert answer.detail


async def test_who_has_no_token_sees_nothing(client: Client) -> None:
    delivery = await begun(client, script="ok.sh")
    assert (await client.get(f"/v1/deliveries/{delivery}/output", token=None)).status == 401
    assert (await client.get("/v1/deliveries/none/output")).status == 404


async def test_a_reader_that_goes_away_disturbs_nobody(mediator: Mediator, client: Client) -> None:
    delivery = await begun(client, "gate-7")
    async with Client(mediator.url) as other, followed(other, delivery) as stream:
        await until(stream, "stdout")
    (mediator.home / "gate-7").touch()
    await client.until(delivery, "succeeded")
    assert not mediator.events("request crashed")


async def test_a_stop_of_the_mediator_ends_the_stream(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path, settings={"dispatch": {"drain": "100ms"}})
    mediator.script("steps.py", STEPS)
    with mediator:
        async with Client(mediator.url) as client:
            delivery = await begun(client, "never")
            async with followed(client, delivery) as stream:
                await until(stream, "stdout")
                stopped = asyncio.create_task(asyncio.to_thread(mediator.terminate))
                async with asyncio.timeout(DEADLINE):
                    rest = [name async for name, _ in stream]
            assert await stopped == 0
    assert "end" not in rest
