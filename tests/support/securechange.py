"""A SecureChange for tests: the part of its REST API that scripts use, with tickets of the test's.

Tufin's SDK speaks plain HTTP to it when a script has `SecureChange.environment`. The shape of a
ticket is the one the SDK reads: lists inside an object of their singular, a list of one perhaps as
the thing itself, the steps reached so far only, and no current step once a ticket has ended. The
codes inside refusals are invented.
"""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

_BASE = "/securechangeworkflow/api/securechange"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STEPS = {
    "Open request": 8801,
    "Business approval": 8802,
    "Technical design": 8803,
    "Implementation": 8804,
}
"""The steps of the workflow that the samples come from, with their ids."""


def ticket(*reached: str, id: int = 4711, status: str = "In Progress") -> dict[str, Any]:  # noqa: A002 - as it is called there
    """A ticket that has reached these steps. `In Progress`, the last of them is the current one."""
    steps = [_step(name) for name in reached]
    document: dict[str, Any] = {
        "id": id,
        "subject": "Open HTTPS from web tier to app tier",
        "requester": "Anna Meyer",
        "requester_id": 31,
        "priority": "Normal",
        "status": status,
        "domain_name": "Default",
        "sla_status": "NA",
        "sla_outcome": "NA",
        "expiration_date": "",
        "expiration_field_name": "Expiration",
        "workflow": {"id": 43, "name": "Access Request", "uses_topology": True},
        "steps": {"step": steps if len(steps) > 1 else steps[0]},
        "comments": {"comment": []},
    }
    if status == "In Progress":
        document["current_step"] = {"id": STEPS[reached[-1]], "name": reached[-1]}
    return {"ticket": document}


def _step(name: str) -> dict[str, Any]:
    reason = {
        "@xsi.type": "text_area",
        "id": STEPS[name] + 2000,
        "name": "Business reason",
        "read_only": name != "Open request",
        "text": "The web shop moves",
    }
    task = {
        "id": STEPS[name] + 1000,
        "name": "Default",
        "status": "ASSIGNED",
        "assignee": "NetSec Operator",
        "assignee_id": 52,
        "fields": {"field": reason},
    }
    return {
        "id": STEPS[name],
        "name": name,
        "redone": False,
        "skipped": False,
        "tasks": {"task": task},
    }


@dataclass
class SecureChange:
    """The server, on a port of its own; `with SecureChange() as securechange:` runs it.

    It has a thread and an event loop of its own, so that it answers while a test waits for a
    script that asks it.
    """

    user: str = "svc-scripts"
    password: str = "correct horse"  # noqa: S105 - invented
    tickets: dict[int, dict[str, Any]] = field(default_factory=dict)
    """by id; a test may change them while the server runs"""
    requests: list[str] = field(default_factory=list)
    """method and path below the base of each request that was let in"""
    comments: list[dict[str, Any]] = field(default_factory=list)
    """bodies of the comments that were added"""
    port: int = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes a script with Tufin's SDK talk to this server."""
        return {
            # The SDK takes https for port 443 alone, and puts only the host into its address.
            "SC_SERVER_SERVICE_HOST": f"127.0.0.1:{self.port}",
            "SC_SERVER_SERVICE_PORT": "80",
            "SCW_API_USERNAME": self.user,
            "SCW_API_PASSWORD": self.password,
        }

    def keep(self, document: dict[str, Any]) -> None:
        """Have this ticket, and forget what was asked before."""
        self.tickets[document["ticket"]["id"]] = document
        self.requests.clear()
        self.comments.clear()

    def __enter__(self) -> Self:
        """Start it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="securechange")
        self._thread.start()
        self._runner = web.AppRunner(self._application(), access_log=None)
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _listen(self) -> int:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        comments = "/tickets/{id:[0-9]+}/steps/{step:[0-9]+}/tasks/{task:[0-9]+}/comments"
        application.router.add_get(_BASE + "/tickets/{id:[0-9]+}", self._get_ticket)
        application.router.add_post(_BASE + comments, self._add_comment)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        wanted = b64encode(f"{self.user}:{self.password}".encode()).decode()
        if given != f"Basic {wanted}":
            challenge = {"WWW-Authenticate": 'Basic realm="SecureChange"'}
            return _refusal(401, "UNAUTHORIZED", "Authentication failed.", challenge)
        self.requests.append(f"{request.method} {request.path.removeprefix(_BASE)}")
        return await handler(request)

    async def _get_ticket(self, request: web.Request) -> web.StreamResponse:
        document = self.tickets.get(int(request.match_info["id"]))
        if document is None:
            return _no_ticket(request)
        return web.json_response(document)

    async def _add_comment(self, request: web.Request) -> web.StreamResponse:
        if int(request.match_info["id"]) not in self.tickets:
            return _no_ticket(request)
        self.comments.append(await request.json())
        return web.Response(status=201, headers={"Location": f"{request.url}/{len(self.comments)}"})


def _no_ticket(request: web.Request) -> web.Response:
    return _refusal(404, "TICKET_NOT_FOUND", f"No ticket has the id {request.match_info['id']}.")


def _refusal(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    document = {"result": {"code": code, "message": message}}
    return web.json_response(document, status=status, headers=headers)
