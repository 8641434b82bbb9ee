"""Breaks a world under load, repairs it, waits until it is quiet, and judges what happened."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.faults import counts, verdict
from tests.faults.fault import Fault
from tests.faults.history import History, Kept, read_lines
from tests.faults.load import Load
from tests.faults.works import BY_NAME
from tests.faults.world import World
from tests.support.conditions import eventually
from tests.support.mediator import Client

QUIET = 100.0
"""Seconds in which everything that was accepted must have ended after the last repair."""
AFTERWARDS = "afterwards"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What happened, and what was wrong with it."""

    world: str
    """with what it stands on"""
    seed: int
    history: History
    injected: Counter[str]
    refused: Counter[tuple[str, str]]
    complaints: list[str]


@dataclass(kw_only=True)
class Engine:
    """One run."""

    world: World
    seed: int
    chance: random.Random = field(init=False)
    load: Load = field(init=False)
    injected: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Everything random comes of the seed."""
        self.chance = random.Random(self.seed)  # noqa: S311 - no secret
        self.load = Load(world=self.world, chance=self.chance)

    async def run(self, faults: Iterable[Fault], *, warm_up: int = 12) -> Report:
        """Inject one fault after the other, as many as there are, and judge."""
        async with self.load.going_on():
            await self.load.more(warm_up)
            for fault in faults:
                await self._break(fault)
        await self._quiet()
        kept = await self._all()
        if self.world.restarted:  # and has forgotten what it had counted
            await self._afterwards(kept)
        else:
            await self._compare([], kept)
        return self._report(await self._end())

    async def _break(self, fault: Fault) -> None:
        self.load.phase = fault.name
        self.injected[fault.name] += 1
        await fault.inject(self.world, self.chance)
        await asyncio.sleep(self.chance.uniform(*fault.lasts))  # how long it lasts is its nature
        await fault.heal(self.world)
        await self.load.more(8)

    async def _quiet(self) -> None:
        """Nothing is pending, and nothing runs."""
        async with Client(self.world.mediators[-1].url) as client:

            async def left() -> Any:
                status = (await client.get("/v1/status")).json()
                return [status["pending"], status["running"]]

            await eventually(left, until=lambda found: found == [0, 0], seconds=QUIET)

    async def _all(self) -> list[Kept]:
        """Every delivery, in the order of arrival."""
        found: list[Kept] = []
        after = ""
        async with Client(self.world.mediators[0].url) as client:
            while True:
                page = (await client.get(f"/v1/deliveries?limit=500{after}")).json()
                found += [Kept.from_document(item) for item in page["items"]]
                if page["next"] is None:
                    return found[::-1]
                after = f"&after={page['next']}"

    async def _compare(self, before: Iterable[Kept], after: Iterable[Kept]) -> None:
        counted = await counts.read(self.world.mediators)
        self.complaints += counts.disagreements(counted, before=before, after=after)

    async def _afterwards(self, before: list[Kept]) -> None:
        """All mediators are started afresh, and everything works and is counted."""
        await self.world.stop()
        await asyncio.gather(*(self.world.start(one) for one in self.world.mediators))
        self.load.phase = AFTERWARDS
        await self.load.each_once()
        await self._quiet()
        await self._compare(before, await self._all())

    async def _end(self) -> list[Kept]:
        kept = await self._all()
        await self.world.stop()
        self.complaints += [f"still alive: {one}" for one in self.world.witness.alive()]
        self.complaints += [f"working directory left: {one}" for one in self.world.left()]
        self.complaints += self._damage()
        return kept

    def _damage(self) -> list[str]:
        if self.world.postgresql is not None:
            return []
        connection = sqlite3.connect(self.world.file)
        found = connection.execute("PRAGMA integrity_check").fetchall()
        connection.close()
        return [f"SQLite's file: {row[0]}" for row in found if row != ("ok",)]

    def _report(self, kept: list[Kept]) -> Report:
        lines, damaged = read_lines(self.world.effects.read_text())
        history = History(
            works=BY_NAME,
            handed=tuple(self.load.handed),
            kept=tuple(kept),
            lines=lines,
            damaged=damaged,
            shared=len(self.world.mediators) > 1,
        )
        return Report(
            world=self.world.told,
            seed=self.seed,
            history=history,
            injected=self.injected,
            refused=self.load.refused,
            complaints=[*self.complaints, *verdict.complaints(history)],
        )


_COLUMNS = ["times", "accepted", "ended", "lost", "cut", "twice", "refused"]


def table(report: Report) -> str:
    """A line for each fault; a delivery is counted with the fault injected last before it."""
    phases = list(dict.fromkeys(one.phase for one in report.history.handed))
    rows = [(phase, _numbers(report, {phase})) for phase in phases]
    rows.append(("all", _numbers(report, set(phases))))
    width = max(len(name) for name, _ in rows)
    heads = "".join(f"{word:>10}" for word in _COLUMNS)
    lines = [f"{report.world}, seed {report.seed}", " " * width + heads]
    lines += [f"{name:<{width}}" + "".join(f"{n:>10}" for n in numbers) for name, numbers in rows]
    return "\n".join(lines)


def _numbers(report: Report, phases: set[str]) -> list[int]:
    history = report.history
    handed = [one for one in history.handed if one.phase in phases]
    names, accepted = {one.name for one in handed}, {one.name for one in handed if one.accepted}
    kept = [one for one in history.kept if one.name in names]
    ended = [one for one in kept if one.name in accepted and one.state in {"succeeded", "dead"}]
    return [
        sum(number for name, number in report.injected.items() if name in phases),
        len(accepted),
        len(ended),
        len(accepted - {one.name for one in kept}),
        sum(one.cut for delivery in kept for one in delivery.tried),
        verdict.run_twice(history, handed),
        sum(number for (phase, _), number in report.refused.items() if phase in phases),
    ]


def tell(report: Report) -> None:
    """Print the table, and what callers heard (`pytest -s`, and whenever a test fails)."""
    why = Counter[str]()
    for (_, word), number in report.refused.items():
        why[word] += number
    sys.stdout.write(f"\n{table(report)}\nrefused: {dict(why)}\n")
