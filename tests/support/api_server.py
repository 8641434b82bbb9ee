"""Plays a Kubernetes API server with pods whose containers are directories of this machine.

It lists and watches pods, takes Events, and runs an exec's command here, over the protocol that the
real one speaks (v4.channel.k8s.io). What it does not do is decide who may do what: the tests under
tests/cluster use a real one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from aiohttp import WSMsgType, web


@dataclass(kw_only=True)
class ApiServer:
    """Its pods, and what was asked of it."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """of the commands"""
    pods: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    refuse_events: bool = False
    cut_exec: bool = False
    """whether connections of execs are cut before the command has ended"""
    busy: set[asyncio.Task[Any]] = field(default_factory=set)
    """what handles execs"""
    watched: list[asyncio.Queue[dict[str, Any] | None]] = field(default_factory=list)
    """what each watch is to be told; None ends it"""
    url: str = ""

    def add_pod(self, name: str = "sc-1") -> None:
        """A pod that runs, with the container `server`."""
        self.pods.append(
            {
                "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "7"},
                "spec": {"containers": [{"name": "server"}]},
                "status": {
                    "phase": "Running",
                    "containerStatuses": [
                        {"name": "server", "containerID": "c://1", "state": {"running": {}}}
                    ],
                },
            }
        )

    def kubeconfig(self, directory: Path) -> Path:
        """A kubeconfig of it."""
        return write_kubeconfig(directory, self.url)

    def change(self, kind: str, pod: dict[str, Any]) -> None:
        """Tell whoever watches that a pod is ADDED, MODIFIED or DELETED."""
        for events in self.watched:
            events.put_nowait({"type": kind, "object": pod})

    async def list_or_watch(self, request: web.Request) -> web.StreamResponse:
        """A watch says what is changed, until the end."""
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
            self.watched.append(events)
            while (event := await events.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
            return response
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": self.pods})

    async def take_event(self, request: web.Request) -> web.Response:
        """Keep it, or refuse as RBAC does."""
        if self.refuse_events:
            said = 'events is forbidden: User "u" cannot create resource "events" in API group ""'
            return web.json_response({"kind": "Status", "message": said}, status=403)
        self.events.append(await request.json())
        return web.json_response(self.events[-1], status=201)

    async def execute(self, request: web.Request) -> web.WebSocketResponse:
        """Run the command, its streams over the channels."""
        if request.match_info["pod"] not in {pod["metadata"]["name"] for pod in self.pods}:
            raise web.HTTPNotFound
        self.busy.add(task := cast("asyncio.Task[Any]", asyncio.current_task()))
        task.add_done_callback(self.busy.discard)
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        command = request.query.getall("command")
        self.commands.append(command)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", **self.environment},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        tasks = [
            asyncio.create_task(_pump(process.stdout, socket, 1)),
            asyncio.create_task(_pump(process.stderr, socket, 2)),
        ]
        feeding = asyncio.create_task(_feed(socket, process, cut=self.cut_exec))
        try:
            code = await process.wait()
            await asyncio.gather(*tasks)
            if not self.cut_exec and not socket.closed:
                await socket.send_bytes(b"\x03" + _status(code))
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
            await socket.close()
        return socket


def write_kubeconfig(directory: Path, url: str) -> Path:
    """A kubeconfig of the server at that address."""
    path = directory / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


@asynccontextmanager
async def api_server(server: ApiServer) -> AsyncIterator[ApiServer]:
    """Serve while the block runs."""
    app = web.Application()
    at = "/api/v1/namespaces/{namespace}"
    app.router.add_get(f"{at}/pods", server.list_or_watch)
    app.router.add_get(f"{at}/pods/{{pod}}/exec", server.execute)
    app.router.add_post(f"{at}/events", server.take_event)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        for events in server.watched:
            events.put_nowait(None)
        await runner.cleanup()
        if server.busy:  # whoever asked may have gone before the command
            await asyncio.wait(server.busy)


async def _pump(stream: asyncio.StreamReader, socket: web.WebSocketResponse, channel: int) -> None:
    while piece := await stream.read(4096):
        with suppress(ConnectionError):  # whoever asked may have gone
            await socket.send_bytes(bytes([channel]) + piece)


async def _feed(
    socket: web.WebSocketResponse, process: asyncio.subprocess.Process, *, cut: bool
) -> None:
    """What comes for stdin; when the other side goes, the command is killed with its input."""
    assert process.stdin is not None
    async for message in socket:
        if cut:
            break
        if message.type is WSMsgType.BINARY and message.data[0] == 0:
            process.stdin.write(message.data[1:])
    with suppress(ProcessLookupError):
        process.kill()


def _status(code: int) -> bytes:
    if code == 0:
        return b'{"metadata":{},"status":"Success"}'
    cause = {"reason": "ExitCode", "message": str(code)}
    return json.dumps({"status": "Failure", "details": {"causes": [cause]}}).encode()
