"""The watch over a cluster, against a server that does what API servers do now and then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from mediator.kube.client import Cluster, api_client
from mediator.runners.kubernetes.attempt import Followed
from mediator.runners.kubernetes.calls import Calls, persistently
from mediator.runners.kubernetes.status import Sights
from mediator.runners.kubernetes.watching import Watch
from tests.integration.runners.support import until
from tests.support.waiting import eventually

NAMES = "/apis/batch/v1/namespaces/x/jobs"
Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


def job(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "status": {}}


def listed(version: int, *names: str) -> Step:
    async def step(request: web.Request) -> web.StreamResponse:
        assert "watch" not in request.query
        items = [job(name, version) for name in names]
        return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": items})

    return step


def watched(since: int, *events: tuple[str, dict[str, Any]]) -> Step:
    async def step(request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true"
        assert request.query["resourceVersion"] == str(since)
        assert request.query["allowWatchBookmarks"] == "true"
        lines = [json.dumps({"type": kind, "object": item}) + "\n" for kind, item in events]
        return web.Response(text="".join(lines))

    return step


def refused(status: int) -> Step:
    async def step(request: web.Request) -> web.StreamResponse:
        del request
        return web.json_response({"kind": "Status", "message": "no"}, status=status)

    return step


async def broken(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def forever(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.Event().wait()
    return response


@dataclass
class Script:
    """What the server does, request by request."""

    steps: list[Step]
    done: list[str] = field(default_factory=list)
    problems: list[AssertionError] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        step = self.steps.pop(0) if self.steps else forever
        self.done.append(request.path_qs)
        try:
            return await step(request)
        except AssertionError as error:
            self.problems.append(error)
            raise


@asynccontextmanager
async def calls_of(script: Script, directory: Path) -> AsyncIterator[Calls]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", script.handle)
    server = TestServer(app, shutdown_timeout=0)
    await server.start_server()
    config = directory / "kubeconfig"
    config.write_text(
        f"""
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{server.port}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
    )
    cluster = Cluster(kubeconfig=config, context=None, namespace="x")
    async with api_client(cluster) as client:
        yield Calls(client, "x")
    await server.close()
    assert script.problems == []


async def told(script: Script, directory: Path) -> list[str]:
    """What a watch has told when the server has come to the end of its script."""
    heard: list[str] = []

    class Heard(Sights):
        def job(self, item: dict[str, Any], *, gone: bool = False) -> None:
            super().job(item, gone=gone)
            heard.append(f"{'-' if gone else '+'}{item['metadata']['name']}")

    sights = Heard()
    async with calls_of(script, directory) as calls:
        watch = Watch(
            calls=calls, path=NAMES, listing=sights.listing, told=sights.job, told_all=sights.jobs
        )
        task = asyncio.create_task(watch.run())

        async def over() -> bool:
            return not script.steps and watch.problem is None and len(script.done) > 1

        await eventually(over)
        task.cancel()
        await asyncio.wait({task})
    return heard


BOOKMARK = ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
EXPIRED = ("ERROR", {"kind": "Status", "code": 410})


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
            ["+a", "+b", "-a"],
            id="it goes on from the last version, bookmarks included",
        ),
        pytest.param(
            [listed(5, "a", "b"), watched(5, EXPIRED), listed(20, "b"), watched(20)],
            ["+a", "+b", "-a", "+b"],
            id="an expired version means to list again, and what is missing has gone",
        ),
        pytest.param(
            [listed(5, "a"), refused(410), listed(20, "a"), watched(20)],
            ["+a", "+a"],
            id="also when the watch is refused",
        ),
        pytest.param(
            [refused(500), refused(429), listed(5, "a"), refused(503), watched(5)],
            ["+a"],
            id="a server in trouble is asked again",
        ),
        pytest.param(
            [listed(5, "a"), broken, watched(5, ("ADDED", job("b", 7))), watched(7)],
            ["+a", "+b"],
            id="a broken connection loses nothing",
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


async def test_a_call_is_made_again_until_there_is_an_answer(tmp_path: Path) -> None:
    script = Script([refused(429), refused(500), broken, listed(5, "a")])
    async with calls_of(script, tmp_path) as calls:
        found = await persistently(lambda: calls.get(calls.jobs()))
    assert [item["metadata"]["name"] for item in found["items"]] == ["a"]
    assert len(script.done) == 4


async def test_what_is_refused_for_good_is_not_asked_again(tmp_path: Path) -> None:
    script = Script([refused(403)])
    async with calls_of(script, tmp_path) as calls:
        with pytest.raises(Exception, match="403"):
            await persistently(lambda: calls.get(calls.jobs()))
    assert len(script.done) == 1


def written(text: bytes, *, whole: bool) -> Step:
    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(text)
        if not whole:
            assert request.transport is not None
            request.transport.abort()
        return response

    return step


async def test_a_log_is_read_on_after_a_break_without_losing_or_doubling_a_byte(
    tmp_path: Path,
) -> None:
    steps = [
        refused(400),
        written(b"one\n\0", whole=False),
        refused(502),
        written(b"one\n\0two", whole=False),
        written(b"one\n\0two\nthree", whole=True),
    ]
    heard: list[bytes] = []
    async with calls_of(Script(steps), tmp_path) as calls:
        log = Followed(calls, "script", limit=1000, heard=heard.append)
        ended = asyncio.Event()
        following = asyncio.create_task(log.follow("pod", ended))
        await until(lambda: log.paused)
        ended.set()
        await following
    assert b"".join(heard) == log.kept.output().kept == b"one\n\0two\nthree"
    assert not log.missing


async def test_a_log_that_has_gone_is_said_to_be_missing(tmp_path: Path) -> None:
    steps = [written(b"one\n", whole=False), refused(404)]
    async with calls_of(Script(steps), tmp_path) as calls:
        log = Followed(calls, "script", limit=1000, heard=lambda _: None)
        await log.follow("pod", asyncio.Event())
    assert (log.missing, log.kept.output().kept) == (True, b"one\n")
