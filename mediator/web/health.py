"""Health, for probes. It needs no token."""

from __future__ import annotations

import asyncio

from aiohttp import web

from mediator.web.services import SERVICES, Check, Services

_PATIENCE = 5.0
"""Seconds one check may take before it counts as failed."""


async def livez(request: web.Request) -> web.Response:
    """200 as long as the event loop answers."""
    del request
    return web.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """200 when work can be taken and done, else 503 with what is wrong."""
    services = request.app[SERVICES]
    broken = [s for s in services.scripts.catalog.scripts.values() if not s.ready]
    wrong = await unready(services)
    if services.draining:
        return _answer(wrong)
    return _answer(wrong, {script.name: script.problem for script in broken})


async def unready(services: Services) -> dict[str, str]:
    """What keeps it from working: the part and the reason."""
    if services.draining:
        return {"mediator": "it is shutting down"}
    found = await look(services)
    return {name: wrong for name, wrong in found.items() if wrong}


async def look(services: Services) -> dict[str, str]:
    """Part → what is wrong with it, or nothing."""
    names = list(services.checks)
    found = await asyncio.gather(*(_look(services.checks[name]) for name in names))
    return dict(zip(names, found, strict=True))


async def _look(check: Check) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await check()
    except TimeoutError:
        return f"no answer within {_PATIENCE:g} seconds"


def _answer(wrong: dict[str, str], scripts: dict[str, str] | None = None) -> web.Response:
    """A script that cannot run is shown, but does not make the whole mediator unready."""
    document = {
        "status": "not ready" if wrong else "ready",
        "problems": wrong,
        "scripts_not_ready": scripts or {},
    }
    return web.json_response(document, status=503 if wrong else 200)
