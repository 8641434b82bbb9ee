"""A server that does, request by request, what API servers do now and then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from mediator.kube.client import Cluster, KubernetesClient, connect
from tests.support.api_server import write_kubeconfig

JOBS = "/apis/batch/v1/namespaces/x/jobs"
Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


def job(name: str, version: int) -> dict[str, Any]:
    """A Job as of that resource version."""
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "status": {}}


def listed(version: int, *names: str, more: str = "", after: str = "") -> Step:
    """Answer a list, or its page behind `after`; `more`: what names the next page."""

    async def step(request: web.Request) -> web.StreamResponse:
        assert "watch" not in request.query
        assert request.query["labelSelector"] == "app=x"
        assert request.query.get("continue", "") == after
        metadata = {"resourceVersion": str(version), "continue": more}
        items = [job(name, version) for name in names]
        return web.json_response({"metadata": metadata, "items": items})

    return step


def watched(since: int, *events: tuple[str, dict[str, Any]]) -> Step:
    """Answer a watch from that version on; lines come in any pieces."""

    async def step(request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true"
        assert request.query["labelSelector"] == "app=x"
        assert request.query["resourceVersion"] == str(since)
        assert request.query["allowWatchBookmarks"] == "true"
        response = web.StreamResponse()
        await response.prepare(request)
        for kind, item in events:
            line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
            for piece in (line[:7], line[7:]):
                await response.write(piece)
        return response

    return step


def refused(status: int) -> Step:
    """Refuse by that status."""

    async def step(request: web.Request) -> web.StreamResponse:
        del request
        return web.json_response({"kind": "Status", "message": "no"}, status=status)

    return step


def written(text: bytes, *, whole: bool) -> Step:
    """Send a log; one that is not whole ends with its connection."""

    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(text)
        if not whole:
            assert request.transport is not None
            request.transport.abort()
        return response

    return step


async def broken(request: web.Request) -> web.StreamResponse:
    """Break the connection instead of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def forever(request: web.Request) -> web.StreamResponse:
    """Accept, and say nothing."""
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.Event().wait()
    return response


@dataclass
class Script:
    """What the server does; when it has come to the end it says nothing more."""

    steps: list[Step]
    done: list[str] = field(default_factory=list)
    """what was asked for"""
    problems: list[AssertionError] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer by the next step."""
        step = self.steps.pop(0) if self.steps else forever
        self.done.append(request.path_qs)
        try:
            return await step(request)
        except AssertionError as error:
            self.problems.append(error)
            raise


@asynccontextmanager
async def client_of(script: Script, directory: Path) -> AsyncIterator[KubernetesClient]:
    """A client of a server that does this."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", script.handle)
    server = TestServer(app, shutdown_timeout=0)
    await server.start_server()
    config = write_kubeconfig(directory, f"http://127.0.0.1:{server.port}")
    async with connect(Cluster(kubeconfig=config, context=None, namespace="x")) as client:
        yield client
    await server.close()
    assert script.problems == []
