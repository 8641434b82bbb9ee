"""List and watch against a server that plays an API server which forgets, breaks and refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from mediator.keeper.pods import Selection
from mediator.keeper.watch import Following, Pods
from mediator.kube.client import Cluster, api_client
from tests.support.waiting import eventually

SELECTION = Selection(namespace="tos", selector="app=sc", container=None)


def pod(name: str, version: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": version},
        "spec": {"containers": [{"name": "server"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {
                    "name": "server",
                    "ready": True,
                    "restartCount": 0,
                    "image": "i",
                    "imageID": "i",
                    "state": {"running": {"startedAt": "2026-01-31T03:12:44Z"}},
                    "containerID": f"containerd://{version}",
                }
            ],
        },
    }


def change(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": document}


BOOKMARK = change("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "20"}})
GONE = change("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


@dataclass
class Server:
    """Answers each list by `pods`, each watch by the next of `watches`; then they say nothing."""

    pods: list[dict[str, Any]]
    watches: list[list[dict[str, Any]] | int]
    asked: list[str] = field(default_factory=list)
    """`list`, or `watch` and the version it goes on from"""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.query["labelSelector"] == "app=sc"
        if "watch" not in request.query:
            self.asked.append("list")
            body = {"kind": "PodList", "metadata": {"resourceVersion": "10"}, "items": self.pods}
            return web.json_response(body)
        assert request.query["allowWatchBookmarks"].lower() == "true"
        self.asked.append(f"watch {request.query['resourceVersion']}")
        if not self.watches:
            await self.over.wait()
            return web.Response()
        told = self.watches.pop(0)
        if isinstance(told, int):
            return web.json_response({"kind": "Status", "message": "no"}, status=told)
        response = web.StreamResponse()
        await response.prepare(request)
        for event in told:
            line = json.dumps(event).encode() + b"\n"
            for piece in (line[:7], line[7:]):  # lines come in any pieces
                await response.write(piece)
        return response


@asynccontextmanager
async def following(
    server: Server, directory: Path, heard: Callable[[Pods], None]
) -> AsyncIterator[Following]:
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/tos/pods", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kubeconfig = directory / "kubeconfig"
    port = runner.addresses[0][1]
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    cluster = Cluster(kubeconfig=kubeconfig, context=None, namespace="tos")
    async with api_client(cluster) as api:
        made = Following(api, SELECTION, heard)
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait({task})
            server.over.set()
            await runner.cleanup()


class Heard:
    """What was told of the pods, last."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []

    def __call__(self, pods: Pods) -> None:
        self.names.append(sorted(pod.name for pod in pods.values()))


async def asked(server: Server, count: int) -> list[str]:
    async def look() -> list[str]:
        return server.asked

    return (await eventually(look, until=lambda seen: len(seen) >= count))[:count]


@pytest.mark.usefixtures("no_task_left")
async def test_a_watch_that_ends_goes_on_from_the_last_bookmark(tmp_path: Path) -> None:
    heard = Heard()
    server = Server(pods=[pod("a", "5")], watches=[[change("ADDED", pod("b", "12")), BOOKMARK]])
    async with following(server, tmp_path, heard):
        assert await asked(server, 3) == ["list", "watch 10", "watch 20"]
    assert heard.names == [["a"], ["a", "b"]]


async def test_a_version_that_is_too_old_begins_with_a_list_again(tmp_path: Path) -> None:
    server = Server(pods=[pod("a", "5")], watches=[[GONE], 410])
    async with following(server, tmp_path, Heard()):
        assert await asked(server, 6) == ["list", "watch 10"] * 3


async def test_a_pod_that_is_deleted_is_forgotten(tmp_path: Path) -> None:
    heard = Heard()
    server = Server(
        pods=[pod("a", "5"), pod("b", "6")], watches=[[change("DELETED", pod("a", "11"))]]
    )
    async with following(server, tmp_path, heard):
        assert await asked(server, 3) == ["list", "watch 10", "watch 11"]
    assert heard.names == [["a", "b"], ["b"]]


async def test_a_server_that_refuses_is_asked_again_with_a_list(tmp_path: Path) -> None:
    server = Server(pods=[pod("a", "5")], watches=[403, 500])
    async with following(server, tmp_path, Heard()) as made:
        assert await asked(server, 6) == ["list", "watch 10"] * 3

        async def connected() -> bool:
            return made.connected

        await eventually(connected)
