"""Callers that hand over all the time: as SecureChange by the real shim, and by signed HTTP."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import aiohttp
import uuid_utils

from tests.faults.history import Handed, Work
from tests.faults.works import INTERACTIVE, TRIGGERS
from tests.faults.world import World
from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover

TICKETS = 5
"""Tickets of each ordered script, whose deliveries wait for each other."""
_PACE = (0.1, 0.3)
"""Seconds between two hand-overs of one caller."""
_SHIM_SECONDS = "20"
"""One call of the shim may take."""


@dataclass(kw_only=True)
class Load:
    """What is handed over, by so many callers at once."""

    world: World
    chance: random.Random
    http: int = 2
    shims: int = 1
    people: int = 1
    """who call an interactive script, half of them by the shim"""
    phase: str = "before"
    """the fault that was injected last"""
    handed: list[Handed] = field(default_factory=list)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """by phase, and by what the caller heard"""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def accepted(self) -> int:
        """Hand-overs that their callers heard to be accepted."""
        return sum(one.accepted for one in self.handed)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Callers hand over until the end of the block, and then each ends its call."""
        self._done.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.http):
                group.create_task(self._again_and_again(self.by_http, TRIGGERS))
            for _ in range(self.shims):
                group.create_task(self._again_and_again(self.by_shim, TRIGGERS))
            for _ in range(self.people):
                group.create_task(self._again_and_again(self._by_person, INTERACTIVE))
            yield
            self._done.set()

    async def more(self, number: int) -> None:
        """Return once so many more have been accepted: whatever was broken works again."""
        enough = self.accepted + number

        async def seen() -> int:
            return self.accepted

        await eventually(seen, until=lambda accepted: accepted >= enough)

    async def each_once(self) -> None:
        """One hand-over for every script, all of them accepted."""
        for work in (*TRIGGERS, *INTERACTIVE):
            before = self.accepted
            await (self.by_shim if self.chance.random() < 0.5 else self.by_http)(work)
            assert self.accepted == before + 1, f"{work.name} was not accepted: {self.refused}"

    async def _again_and_again(
        self, call: Callable[[Work], Awaitable[None]], works: tuple[Work, ...]
    ) -> None:
        while not self._done.is_set():
            await call(self.chance.choice(works))
            await asyncio.sleep(self.chance.uniform(*_PACE))  # a pace; not a wait for anything

    async def _by_person(self, work: Work) -> None:
        await (self.by_shim if self.chance.random() < 0.5 else self.by_http)(work)

    def _new(self, work: Work) -> Handed:
        number = next(self._numbers)
        ticket = str(self.chance.randrange(TICKETS) if work.ordered else number)
        name = f"{work.name}-{number}"
        padding = "x" * self.chance.choice((10, 1_000, 20_000))
        body = f"<ticket_info><id>{ticket}</id><a>{name}</a><b>{padding}</b></ticket_info>"
        made = Handed(name=name, work=work, ticket=ticket, body=body.encode(), phase=self.phase)
        self.handed.append(made)
        return made

    async def by_shim(self, work: Work) -> None:
        """The real shim, which tries again by itself."""
        handed = self._new(work)
        urls = self.chance.sample(self.world.urls, len(self.world.urls))
        shim = await asyncio.to_thread(
            self.world.mediators[0].shim,
            work.name,
            handed.name,
            stdin=handed.body,
            environment={"MEDIATOR_URL": " ".join(urls), "MEDIATOR_TIMEOUT": _SHIM_SECONDS},
        )
        handed.accepted = shim.returncode == 0
        if not handed.accepted:
            self._refuse(f"shim: exit {shim.returncode}")
        elif work.interactive:
            assert shim.stdout == f"answer to {handed.name}\n".encode(), shim

    async def by_http(self, work: Work) -> None:
        """The same request again until it is taken; an interactive one only once."""
        handed = self._new(work)
        key = uuid_utils.uuid4().hex
        while not await self._sent(handed, key):
            if work.interactive or self._done.is_set():
                return
            await asyncio.sleep(self.chance.uniform(*_PACE))

    async def _sent(self, handed: Handed, key: str) -> bool:
        work = handed.work
        handover = Handover(
            script=work.name, arguments=[handed.name], body=handed.body, idempotency_key=key
        )
        try:
            async with Client(self.chance.choice(self.world.urls)) as client:
                answer = await client.hand_over(handover)
        except (aiohttp.ClientError, ConnectionError) as error:
            self._refuse(type(error).__name__)
            return False
        if answer.status != (200 if work.interactive else 202):
            self._refuse(str(answer.status))
            return False
        if work.interactive:
            assert answer.body == f"answer to {handed.name}\n".encode(), answer
        handed.accepted, handed.delivery = True, answer.delivery
        return True

    def _refuse(self, why: str) -> None:
        self.refused[self.phase, why] += 1
