"""The watch over a cluster, against a server that does what API servers do now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediator.kube.watch import Reflector
from tests.integration.kube.support import (
    JOBS,
    Script,
    Step,
    broken,
    client_of,
    job,
    listed,
    refused,
    watched,
)
from tests.support.conditions import eventually

BOOKMARK = ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
EXPIRED = ("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
AHEAD = ("ERROR", {"kind": "Status", "code": 504, "message": "Too large resource version"})


class Heard:
    """What was told, in order: + and - for what changed, and = for a list."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def list(self, items: list[dict[str, Any]], *, asked_at: float) -> None:
        assert asked_at <= asyncio.get_running_loop().time()
        self.told.append(f"={','.join(item['metadata']['name'] for item in items)}")

    def change(self, item: dict[str, Any], *, deleted: bool) -> None:
        self.told.append(f"{'-' if deleted else '+'}{item['metadata']['name']}")


@asynccontextmanager
async def reflected(script: Script, directory: Path, heard: Heard) -> AsyncIterator[Reflector]:
    """A reflector that runs while the block does."""
    async with client_of(script, directory) as client:
        reflector = Reflector(
            client, JOBS, selector="app=x", on_list=heard.list, on_change=heard.change
        )
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector
        finally:
            task.cancel()
            await asyncio.wait({task})


async def told(script: Script, directory: Path) -> list[str]:
    """What was told when the server has come to the end of its script."""
    heard = Heard()
    async with reflected(script, directory, heard) as reflector:

        async def over() -> bool:
            return not script.steps and reflector.connected and len(script.done) > 1

        await eventually(over)
    return heard.told


@pytest.mark.usefixtures("no_task_left")
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(
            [
                listed(5, "a"),
                watched(5, ("ADDED", job("b", 7)), BOOKMARK),
                watched(9, ("DELETED", job("a", 11))),
                watched(11),
            ],
            ["=a", "+b", "-a"],
            id="it goes on from the last version, bookmarks included",
        ),
        pytest.param(
            [listed(5, "a", "b"), watched(5, EXPIRED), listed(20, "b"), watched(20)],
            ["=a,b", "=b"],
            id="an expired version means to list again",
        ),
        pytest.param(
            [listed(5, "a"), refused(410), listed(20, "a"), watched(20)],
            ["=a", "=a"],
            id="also when the watch is refused",
        ),
        pytest.param(
            [refused(500), refused(429), listed(5, "a"), refused(503), watched(5)],
            ["=a"],
            id="a server in trouble is asked again",
        ),
        pytest.param(
            [listed(5, "a"), broken, watched(5, ("ADDED", job("b", 7))), watched(7)],
            ["=a", "+b"],
            id="a broken connection loses nothing",
        ),
        pytest.param(
            [
                listed(5, "a"),
                refused(403),
                listed(6, "a", "b"),
                refused(500),
                listed(7),
                watched(7),
            ],
            ["=a", "=a,b", "="],
            id="where the watch is refused a list tells all the same",
        ),
        pytest.param(
            [
                listed(5, "a"),
                watched(5, AHEAD),
                listed(4, "b"),
                refused(504),
                listed(4),
                watched(4),
            ],
            ["=a", "=b", "="],
            id="a version that the server does not know yet means to list again too",
        ),
        pytest.param(
            [listed(5, "a", more="x"), refused(410), listed(6, "a", "b"), watched(6)],
            ["=a,b"],
            id="a list whose pages have expired begins again",
        ),
        pytest.param(
            [listed(5), watched(5, ("ADDED", {"metadata": {}})), watched(5)],
            ["="],
            id="an object that nobody foresaw ends nothing",
        ),
    ],
)
async def test_a_watch_tells_everything_once(
    tmp_path: Path, steps: list[Step], expected: list[str]
) -> None:
    assert await told(Script(list(steps)), tmp_path) == expected


async def test_an_outage_is_logged_once_and_so_is_its_end(tmp_path: Path) -> None:
    steps = [listed(5), refused(503), refused(503), refused(503), watched(5)]
    with capture_logs() as logs:
        await told(Script(steps), tmp_path)
    assert [line["event"] for line in logs] == ["Kubernetes not heard", "Kubernetes heard again"]


async def test_a_refusal_is_logged_each_time(tmp_path: Path) -> None:
    with capture_logs() as logs:
        await told(Script([refused(403), refused(403), listed(5), watched(5)]), tmp_path)
    assert [line.get("reason") for line in logs] == ["no (403)", "no (403)", None]


async def test_a_server_that_is_away_is_the_problem_until_it_is_heard(tmp_path: Path) -> None:
    heard, script = Heard(), Script([refused(503), listed(5, "a"), watched(5)])
    async with reflected(script, tmp_path, heard) as reflector:
        assert not reflector.connected

        async def problem() -> Exception | None:
            return reflector.problem

        assert str(await eventually(problem)) == "no (503)"
        await reflector.listed.wait()
        assert heard.told == ["=a"]
        await eventually(problem, until=lambda found: found is None)
        assert reflector.connected
