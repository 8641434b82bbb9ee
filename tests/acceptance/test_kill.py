"""The promise: what was answered 202 is run, however often the mediator is killed.

While tickets keep coming, through HTTP and through the real shim, the daemon is killed by SIGKILL
at random moments and started again. `MEDIATOR_KILLS=50` makes a long run of it; the counts are
printed (`pytest -s`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator

KILLS = int(os.environ.get("MEDIATOR_KILLS", "3"))
SEED = int(os.environ.get("MEDIATOR_KILLS_SEED", "0")) or random.randrange(2**32)  # noqa: S311 - no secret
HANDERS = 3
"""Clients that hand over at once, besides the shim."""
PACE = 0.05
"""Seconds between two hand-overs of one client."""
SCRIPT = """#!/bin/sh
sum=$(sha256sum)
sleep 0.0$(($$ % 10))
# One write of a short line with O_APPEND is whole or not there.
printf '%s %s\\n' "$MEDIATOR_DELIVERY_ID" "${{sum%% *}}" >>{effects}
"""


@dataclass
class Tally:
    """What was handed over and answered."""

    accepted: dict[str, str] = field(default_factory=dict)
    """delivery → SHA-256 of its ticket"""
    shims: dict[str, str] = field(default_factory=dict)
    """argument of a shim that exited 0 → SHA-256 of its ticket"""
    refused: Counter[str] = field(default_factory=Counter)


def ticket(name: str) -> bytes:
    return f"<ticket_info><id>{len(name)}</id><comment>{name}</comment></ticket_info>".encode()


def checksum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def hand_over(mediator: Mediator, tally: Tally, done: asyncio.Event, name: str) -> None:
    """One client: hands over one ticket after the other, each once, whatever happens."""
    n = 0
    while not done.is_set():
        n += 1
        handover = Handover(script="note", arguments=[f"{name}-{n}"], body=ticket(f"{name}-{n}"))
        try:
            async with Client(mediator.url) as client:
                answer = await client.hand_over(handover)
            if answer.status == 202:
                tally.accepted[answer.delivery] = checksum(handover.body)
            else:
                tally.refused[str(answer.status)] += 1
        except (aiohttp.ClientError, ConnectionError) as error:
            tally.refused[type(error).__name__] += 1
        await asyncio.sleep(PACE)  # not a wait for anything: what is accepted must also be run


async def shims(mediator: Mediator, tally: Tally, done: asyncio.Event) -> None:
    """SecureChange: the real shim, which tries again by itself."""
    n = 0
    while not done.is_set():
        n += 1
        name = f"shim-{n}"
        body = ticket(name)
        shim = await asyncio.to_thread(
            mediator.shim, "note", name, stdin=body, environment={"MEDIATOR_TIMEOUT": "60"}
        )
        if shim.returncode == 0:
            tally.shims[name] = checksum(body)
        else:
            tally.refused[f"shim exit {shim.returncode}"] += 1


async def kill_again_and_again(mediator: Mediator, chance: random.Random) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.05, 1.5))  # the moment is the point of the test
        mediator.kill()
        await asyncio.to_thread(mediator.start)


async def all_deliveries(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await client.get(f"/v1/deliveries?limit=500{after}")).json()
        found += page["items"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


@pytest.mark.timeout(180 + 20 * KILLS)
async def test_no_delivery_is_lost_however_often_the_mediator_is_killed(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.touch()
    mediator = Mediator(tmp_path, settings={"http": {"port": free_port()}})
    mediator.script("note.sh", SCRIPT.format(effects=effects))
    tally, done = Tally(), asyncio.Event()
    with mediator:
        async with asyncio.TaskGroup() as group:
            for n in range(HANDERS):
                group.create_task(hand_over(mediator, tally, done, f"client{n}"))
            group.create_task(shims(mediator, tally, done))
            await kill_again_and_again(mediator, random.Random(SEED))  # noqa: S311 - no secret
            done.set()
        async with Client(mediator.url) as client:

            async def unfinished() -> int:
                left = 0
                for state in ("pending", "running"):  # in the order in which a delivery has them
                    listed = (await client.get(f"/v1/deliveries?state={state}&limit=1")).json()
                    left += len(listed["items"])
                return left

            await eventually(unfinished, until=lambda left: left == 0, seconds=60 + KILLS)
            deliveries = await all_deliveries(client)
    report(tally, deliveries, effects)
    check(tally, deliveries, effects)


def check(tally: Tally, deliveries: list[dict[str, Any]], effects: Path) -> None:
    by_id = {delivery["id"]: delivery for delivery in deliveries}
    seen: dict[str, list[str]] = {}
    for line in effects.read_text().splitlines():
        delivery_id, body = line.split()
        seen.setdefault(delivery_id, []).append(body)

    assert tally.accepted, "nothing was accepted: the test proves nothing"
    assert tally.shims, "no shim got through: the test proves nothing"
    assert not tally.accepted.keys() - by_id.keys(), "accepted, then lost"
    by_name = {delivery["arguments"][0]: delivery["id"] for delivery in deliveries}
    assert len(by_name) == len(deliveries), "one hand-over became two deliveries"
    wanted = tally.accepted | {by_name[name]: body for name, body in tally.shims.items()}
    for delivery_id, body in wanted.items():
        assert by_id[delivery_id]["state"] == "succeeded", by_id[delivery_id]
        assert set(seen.get(delivery_id, [])) == {body}, "not run, or not with its ticket"
    for delivery_id, bodies in seen.items():
        cut = [a for a in by_id[delivery_id]["attempts"] if a["outcome"] == "lost"]
        assert len(bodies) <= 1 + len(cut), "run again although no attempt was cut"


def report(tally: Tally, deliveries: list[dict[str, Any]], effects: Path) -> None:
    runs = Counter(line.split()[0] for line in effects.read_text().splitlines())
    ended = sum(d["state"] == "succeeded" for d in deliveries)
    cut = sum(any(a["outcome"] == "lost" for a in d["attempts"]) for d in deliveries)
    sys.stdout.write(
        f"\nkills {KILLS}, seed {SEED}: answered 202: {len(tally.accepted)} by HTTP and"
        f" {len(tally.shims)} by the shim; kept {len(deliveries)}, succeeded {ended},"
        f" lost {len(tally.accepted.keys() - {d['id'] for d in deliveries})}, with a cut attempt"
        f" {cut}, with an effect {len(runs)}, with two effects or more"
        f" {sum(n > 1 for n in runs.values())}; not accepted: {dict(tally.refused)}\n"
    )


def free_port() -> int:
    """A port that stays the same over all restarts, as the shim's address does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
