"""Plays a Kubernetes API server in which Jobs get pods, whose scripts do what a test says.

Objects are kept, listed, watched, patched and deleted; a Job that is let go gets a pod; an access
review says yes to all but what is denied. Nothing happens by itself: a test starts the script in a
pod, writes its output and ends it. Real clusters are what tests/cluster is for.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Manifest = dict[str, Any]


@dataclass
class Log:
    """What a container has written."""

    text: bytes = b""
    over: bool = False
    gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, text: bytes = b"", *, over: bool = False, gone: bool = False) -> None:
        """It writes; it has ended; it was removed."""
        self.text, self.over, self.gone = self.text + text, over, gone
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass
class JobServer:
    """Its objects, by kind and name, and what was asked of it."""

    denied: set[tuple[str, str]] = field(default_factory=set)
    """verbs and resources that may not be used"""
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """by method and kind: the status and the sentence that a request is refused with"""
    objects: dict[str, dict[str, Manifest]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """method and kind of each change"""
    logs: dict[tuple[str, str], Log] = field(default_factory=dict)
    makes_pods: bool = True
    """whether a Job that is let go gets its pod"""
    url: str = ""
    on_deadline: Callable[[str], None] | None = None
    """told the name of a pod that its node is to end now"""
    _version: int = 0
    _history: list[tuple[str, int, Manifest]] = field(default_factory=list)
    _watches: list[tuple[str, asyncio.Queue[Manifest | None]]] = field(default_factory=list)

    def put(self, kind: str, item: Manifest) -> Manifest:
        """Keep an object, new or changed, and tell whoever watches."""
        of_kind = self.objects.setdefault(kind, {})
        name = item["metadata"]["name"]
        self._version += 1
        item["metadata"] |= {"resourceVersion": str(self._version)}
        item["metadata"].setdefault("uid", f"uid-{self._version}")
        event = "MODIFIED" if name in of_kind else "ADDED"
        of_kind[name] = item
        self._tell(kind, event, item)
        return item

    def remove(self, kind: str, name: str) -> None:
        """Delete an object, and what a Job owns."""
        item = self.objects[kind].pop(name)
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self._tell(kind, "DELETED", item)
        if kind == "jobs":
            for owned in ("pods", "secrets"):
                for other in list(self.objects.get(owned, {}).values()):
                    if other["metadata"]["labels"]["securechange-mediator/run"] == name:
                        self.remove(owned, other["metadata"]["name"])

    def start_script(self, pod: str) -> None:
        """Its container runs."""
        self.set_state(pod, {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, phase="Running")

    def write(self, pod: str, container: str, text: bytes) -> None:
        """A container writes."""
        self.log(pod, container).write(text)

    def end_script(self, pod: str, code: int = 0, **status: Any) -> None:
        """Its containers end, and so do their logs."""
        for container in ("script", "stderr"):
            self.log(pod, container).write(over=True)
        self.set_state(pod, {"terminated": {"exitCode": code}}, **status)

    def set_state(self, pod: str, state: Manifest, **status: Any) -> None:
        """What the node says of the container of the script."""
        item = copy.deepcopy(self.objects["pods"][pod])
        item["status"] = {"containerStatuses": [{"name": "script", "state": state}], **status}
        self.put("pods", item)

    def log(self, pod: str, container: str) -> Log:
        """Of a container."""
        return self.logs.setdefault((pod, container), Log())

    def _tell(self, kind: str, event: str, item: Manifest) -> None:
        told = {"type": event, "object": copy.deepcopy(item)}
        self._history.append((kind, self._version, told))
        for watched, events in self._watches:
            if watched == kind:
                events.put_nowait(told)

    def end_watches(self) -> None:
        """As they do now and then."""
        for _, events in self._watches:
            events.put_nowait(None)
        self._watches.clear()

    async def version(self, request: web.Request) -> web.Response:
        """Of the cluster."""
        del request
        return web.json_response({"gitVersion": "v1.34.1"})

    async def review(self, request: web.Request) -> web.Response:
        """An access review."""
        asked = (await request.json())["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        allowed = (asked["verb"], resource) not in self.denied
        return web.json_response({"status": {"allowed": allowed}}, status=201)

    async def collection(self, request: web.Request) -> web.StreamResponse:
        """List, watch or create."""
        kind = request.match_info["kind"]
        if (refused := self._refusal(request)) is not None:
            return refused
        if request.method == "POST":
            return self._create(kind, await request.json())
        if "watch" in request.query:
            return await self._watch(kind, request)
        items = list(self.objects.get(kind, {}).values())
        metadata = {"resourceVersion": str(self._version)}
        return web.json_response({"metadata": metadata, "items": items})

    def _create(self, kind: str, item: Manifest) -> web.Response:
        if item["metadata"]["name"] in self.objects.get(kind, {}):
            return _status(409, "it exists")
        return web.json_response(self.put(kind, item), status=201)

    async def _watch(self, kind: str, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        events: asyncio.Queue[Manifest | None] = asyncio.Queue()
        for changed, version, told in self._history:
            if changed == kind and version > int(request.query["resourceVersion"]):
                events.put_nowait(told)
        self._watches.append((kind, events))
        while (event := await events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    async def one(self, request: web.Request) -> web.Response:
        """Read, patch or delete."""
        kind, name = request.match_info["kind"], request.match_info["name"]
        if (refused := self._refusal(request)) is not None:
            return refused
        item = self.objects.get(kind, {}).get(name)
        if item is None:
            return _status(404, "it is not there")
        if request.method == "PATCH":
            item = self._patch(kind, item, await request.json())
        elif request.method == "DELETE":
            self.remove(kind, name)
        return web.json_response(item)

    def _patch(self, kind: str, item: Manifest, patch: Manifest) -> Manifest:
        changed = self.put(kind, _merged(copy.deepcopy(item), patch))
        spec = patch.get("spec", {})
        if spec.get("parallelism") == 1 and self.makes_pods:
            self._make_pod(changed)
        if "activeDeadlineSeconds" in spec and self.on_deadline is not None:
            self.on_deadline(changed["metadata"]["name"])
        return changed

    def _make_pod(self, job: Manifest) -> None:
        name = f"{job['metadata']['name']}-abcde"
        if name not in self.objects.get("pods", {}):
            template = copy.deepcopy(job["spec"]["template"])
            template["metadata"]["name"] = name
            self.put("pods", {**template, "status": {"phase": "Pending"}})

    async def send_log(self, request: web.Request) -> web.StreamResponse:
        """From the beginning, and on until the container has ended."""
        key = request.match_info["name"], request.query["container"]
        log = self.log(*key)
        if log.gone:
            return _status(404, "it is not there")
        response = web.StreamResponse()
        await response.prepare(request)
        sent = 0
        while True:
            changed = log.changed
            await response.write(log.text[sent:])
            sent = len(log.text)
            if log.gone and request.transport is not None:
                request.transport.abort()
            if log.over or log.gone:
                return response
            await changed.wait()

    def _refusal(self, request: web.Request) -> web.Response | None:
        key = request.method, request.match_info["kind"]
        if request.method != "GET":
            self.asked.append(key)
        return _status(*self.refusals[key]) if key in self.refusals else None


@asynccontextmanager
async def job_server(server: JobServer) -> AsyncIterator[JobServer]:
    """Serve while the block runs."""
    app = web.Application()
    app.router.add_post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", server.review)
    app.router.add_get("/version/", server.version)
    for group in ("/apis/batch/v1", "/api/v1"):
        at = f"{group}/namespaces/{{namespace}}/{{kind}}"
        app.router.add_get(f"{at}/{{name}}/log", server.send_log)
        app.router.add_route("*", f"{at}/{{name}}", server.one)
        app.router.add_route("*", at, server.collection)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.end_watches()
        for log in server.logs.values():
            log.write(over=True)
        await runner.cleanup()


def _merged(below: Manifest, above: Mapping[str, Any]) -> Manifest:
    """A merge patch (RFC 7396), without its nulls."""
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(below.get(key), dict)
        below[key] = _merged(below[key], value) if nested else value
    return below


def _status(code: int, said: str) -> web.Response:
    return web.json_response({"kind": "Status", "message": said}, status=code)
