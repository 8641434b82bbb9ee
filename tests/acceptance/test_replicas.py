"""Two mediators on one PostgreSQL: either does what the other was asked, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from tests.support.conditions import eventually
from tests.support.mediator import OPERATOR, Client, Handover, Mediator
from tests.support.postgresql import Postgresql
from tests.support.scripts import gated, interactive

pytestmark = pytest.mark.timeout(300)
"""Several starts one after another take long on a busy machine."""

LEASE = "2s"
QUICK = """#!/bin/sh
printf '%s\\n' "$MEDIATOR_DELIVERY_ID" >>{effects}
"""


@dataclass
class Pair:
    """Two mediators, neither of them started, and what their scripts share."""

    home: Path
    one: Mediator
    other: Mediator

    @property
    def both(self) -> tuple[Mediator, Mediator]:
        return self.one, self.other

    @property
    def gate(self) -> Path:
        return self.home / "gate"

    @property
    def effects(self) -> Path:
        return self.home / "effects"

    def script(self, name: str, text: str) -> None:
        for mediator in self.both:
            mediator.script(name, text)

    def gated(self, name: str = "gated.py") -> None:
        """A trigger that tells where it has started, and ends when the gate is there."""
        for mediator in self.both:
            text = gated(self.gate, mediator.home / "started", end='print("done")')
            mediator.script(name, f"#!/usr/bin/env python3\n{text}")

    def started(self, mediator: Mediator) -> Path:
        return mediator.home / "started"

    def written(self) -> Counter[str]:
        return Counter(self.effects.read_text().split())


@pytest.fixture
def pair(tmp_path: Path, database: str) -> Iterator[Pair]:
    settings: dict[str, Any] = {
        "store": {"url": database, "lease": LEASE},
        "dispatch": {"slots": 4, "interactive_slots": 1},
    }
    made = Pair(tmp_path, *(Mediator(tmp_path / name, settings) for name in ("one", "other")))
    made.effects.touch()
    with ExitStack() as stack:
        for mediator in made.both:
            (mediator.home / "log").touch()
            stack.callback(mediator.__exit__)
        yield made


def there(path: Path) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return path.exists()

    return look


def outcomes(delivery: dict[str, Any]) -> list[str | None]:
    return [attempt["outcome"] for attempt in delivery["attempts"]]


async def test_a_person_hears_the_answer_of_a_script_that_the_other_runs(pair: Pair) -> None:
    for mediator, name in zip(pair.both, ("one", "other"), strict=True):
        mediator.script("tell.py", interactive(f'print("by {name}")', timeout='"60s"'))
        wait = gated(pair.gate, pair.started(mediator))
        mediator.script("block.py", interactive(wait, timeout='"60s"'))
    pair.one.start()
    async with Client(pair.one.url) as client:
        blocked = asyncio.create_task(client.hand_over(Handover(script="block.py")))
        await eventually(there(pair.started(pair.one)))
        pair.other.start()
        answer = await client.hand_over(Handover(script="tell.py"))
        assert (answer.status, answer.body) == (200, b"by other\n")
        pair.gate.touch()
        assert (await blocked).status == 200


async def test_what_the_other_runs_is_cancelled_and_followed_here(pair: Pair) -> None:
    pair.gated()
    pair.other.start()
    async with Client(pair.other.url) as there_:
        delivery_id = (await there_.hand_over(Handover(script="gated.py"))).delivery
        await there_.until(delivery_id, "running")
    pair.one.start()
    async with Client(pair.one.url) as client:
        events: list[str] = []
        following = asyncio.create_task(follow(client, delivery_id, events))

        async def begun() -> bool:
            return events == ["attempt"]

        await eventually(begun)
        assert (await client.post(f"/v1/deliveries/{delivery_id}/cancel")).status == 200
        cancelled = await client.until(delivery_id, "cancelled")
        assert outcomes(cancelled) == ["cancelled"]
        await following
    assert events == ["attempt", "attempt", "end"]


async def follow(client: Client, delivery_id: str, events: list[str]) -> None:
    """Note all events of a delivery, until its end."""
    url = f"{client.url}/v1/deliveries/{delivery_id}/output?follow"
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    async with client.session.get(url, headers=headers) as response:
        async for line in response.content:
            key, _, value = line.decode().strip().partition(": ")
            if key == "event":
                events.append(value)


async def test_what_a_killed_mediator_ran_is_taken_over(pair: Pair) -> None:
    pair.gated()
    pair.one.start()
    async with Client(pair.one.url) as client:
        delivery_id = (await client.hand_over(Handover(script="gated.py"))).delivery
        await eventually(there(pair.started(pair.one)))
    pair.other.start()
    pair.one.kill()
    async with Client(pair.other.url) as client:
        await eventually(there(pair.started(pair.other)))
        pair.gate.touch()
        found = await client.until(delivery_id, "succeeded")
    assert outcomes(found) == ["lost", "ok"]


async def test_a_mediator_that_stood_still_does_not_overwrite_what_was_taken_over(
    pair: Pair,
) -> None:
    pair.gated()
    pair.one.start()
    async with Client(pair.one.url) as client:
        delivery_id = (await client.hand_over(Handover(script="gated.py"))).delivery
        await eventually(there(pair.started(pair.one)))
    pair.other.start()
    pair.one.signal(signal.SIGSTOP)
    async with Client(pair.other.url) as client:
        await eventually(there(pair.started(pair.other)))
        pair.gate.touch()  # both scripts end well, and only one of their mediators can say so
        before = await client.until(delivery_id, "succeeded")
        pair.one.signal(signal.SIGCONT)

        async def noticed() -> bool:
            return bool(pair.one.events("attempt ended, but it was no longer ours"))

        await eventually(noticed)
        assert await client.delivery(delivery_id) == before
    assert outcomes(before) == ["lost", "ok"]
    async with Client(pair.one.url) as client:
        assert await client.delivery(delivery_id) == before, "it works again"


@dataclass
class Load:
    """Clients that hand over all the time, at whichever mediator takes it."""

    mediators: tuple[Mediator, ...]
    accepted: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self, name: str) -> None:
        """As a shim does: the same request again, at the next address, until it is taken."""
        n = 0
        while not self.done.is_set():
            n += 1
            body = f"<ticket_info><id>{n}</id><comment>{name}</comment></ticket_info>".encode()
            handover = Handover(script="quick.sh", body=body, idempotency_key=f"{name}-{n}")
            while not await self._sent(handover, self.mediators[n % len(self.mediators)]):
                n += 1
            await asyncio.sleep(0.02)  # a pace; not a wait for anything

    async def _sent(self, handover: Handover, mediator: Mediator) -> bool:
        try:
            async with Client(mediator.url) as client:
                answer = await client.hand_over(handover)
        except (aiohttp.ClientError, ConnectionError) as error:
            self.refused[type(error).__name__] += 1
        else:
            if answer.status == 202:
                self.accepted.add(answer.delivery)
                return True
            self.refused[str(answer.status)] += 1
        await asyncio.sleep(0.02)
        return False

    async def during(self, trouble: Callable[[], Awaitable[None]]) -> None:
        """Hand over until the trouble is over, and a little longer."""
        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(self.client(f"client{n}"))
            await self._more()
            await trouble()
            await self._more()
            self.done.set()

    async def _more(self) -> None:
        enough = len(self.accepted) + 30

        async def count() -> int:
            return len(self.accepted)

        await eventually(count, until=lambda n: n >= enough)


async def all_succeeded(url: str, ids: set[str]) -> list[dict[str, Any]]:
    async with Client(url) as client:
        return [await client.until(delivery_id, "succeeded") for delivery_id in ids]


async def test_a_rolling_restart_under_load_loses_nothing_and_runs_nothing_twice(
    pair: Pair,
) -> None:
    pair.script("quick.sh", QUICK.format(effects=pair.effects))
    for mediator in pair.both:
        mediator.start()
    load = Load(pair.both)

    async def restart() -> None:
        for mediator in pair.both:
            assert await asyncio.to_thread(mediator.terminate) == 0
            await asyncio.to_thread(mediator.start)

    await load.during(restart)
    await all_succeeded(pair.one.url, load.accepted)
    assert pair.written() == Counter(load.accepted)


async def test_a_database_that_crashes_under_load_loses_nothing(
    pair: Pair, postgresql: Postgresql
) -> None:
    pair.script("quick.sh", QUICK.format(effects=pair.effects))
    for mediator in pair.both:
        mediator.start()
    load = Load(pair.both)

    async def crash() -> None:
        await asyncio.to_thread(postgresql.kill)
        before = load.refused["503"]

        async def refused() -> int:
            return load.refused["503"]

        await eventually(refused, until=lambda n: n > before)
        await asyncio.to_thread(postgresql.start)

    await load.during(crash)
    found = await all_succeeded(pair.one.url, load.accepted)
    assert set(pair.written()) >= load.accepted
    assert {d["state"] for d in found} == {"succeeded"}


class TestMigrating:
    """A database gets its schema from `mediator migrate`, and never by accident."""

    @pytest.fixture
    def mediator(self, tmp_path: Path, postgresql: Postgresql) -> Iterator[Mediator]:
        with postgresql.database(empty=True) as url:
            yield Mediator(tmp_path, {"store": {"url": url}})

    def test_a_mediator_starts_only_after_it(self, mediator: Mediator) -> None:
        refused = mediator.refuse()
        assert refused.returncode == 78
        assert "run `mediator migrate`" in refused.stderr
        looked = mediator.cli("migrate", "--check")
        assert (looked.returncode, looked.stdout) == (1, "")
        assert "the schema is missing" in looked.stderr
        assert mediator.cli("migrate").returncode == 0
        again = mediator.cli("migrate", "--check")
        assert again.returncode == 0
        assert "nothing to do" in again.stdout
        with mediator:
            assert mediator.url

    def test_a_newer_schema_is_refused(self, mediator: Mediator) -> None:
        mediator.cli("migrate")
        with psycopg.connect(mediator.settings["store"]["url"], autocommit=True) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        for refused in (
            mediator.refuse(),
            mediator.cli("migrate"),
            mediator.cli("migrate", "--check"),
        ):
            assert refused.returncode == 78
            assert "newer mediator (schema 9999)" in refused.stderr

    def test_a_database_that_cannot_be_reached_is_said_in_one_line(self, tmp_path: Path) -> None:
        mediator = Mediator(tmp_path, {"store": {"url": "postgresql://m@127.0.0.1:1/x"}})
        told = mediator.cli("migrate")
        assert told.returncode == 75
        assert len(told.stderr.splitlines()) == 1
        assert "refused" in told.stderr

    def test_a_copy_is_made_by_postgresqls_own_program(self, mediator: Mediator) -> None:
        told = mediator.cli("backup", "copy.db")
        assert told.returncode == 1
        assert "pg_dump" in told.stderr

    def test_the_settings_are_checked_without_asking_the_database(self, tmp_path: Path) -> None:
        mediator = Mediator(tmp_path, {"store": {"url": "postgresql://m@127.0.0.1:1/x"}})
        told = mediator.cli("check")
        assert told.returncode == 0, told.stdout + told.stderr
        assert "PostgreSQL" in told.stdout

    def test_a_file_is_migrated_by_who_opens_it(self, tmp_path: Path) -> None:
        mediator = Mediator(tmp_path)
        assert mediator.cli("migrate", "--check").returncode == 1
        assert mediator.cli("migrate").returncode == 0
        with mediator:  # while it works, a look is possible
            assert "nothing to do" in mediator.cli("migrate", "--check").stdout
            assert mediator.cli("migrate").returncode == 78
        connection = sqlite3.connect(tmp_path / "state" / "mediator.db")
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        connection.close()
