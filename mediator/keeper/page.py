"""The keeper's own port: its metrics, and that it is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from mediator.errors import SettingsError
from mediator.metrics.keeper import KeeperMetrics

_Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def served(counted: KeeperMetrics, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve /metrics, /livez and /readyz; the port. Raises `SettingsError` when it is taken."""
    app = web.Application()
    app.router.add_get("/metrics", _metrics(counted))
    app.router.add_get("/livez", _well)
    app.router.add_get("/readyz", _ready(counted))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                f"--metrics-port: cannot listen on {host} port {port}: {error.strerror}."
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _metrics(counted: KeeperMetrics) -> _Handler:
    async def metrics(request: web.Request) -> web.Response:
        page = counted.page(request.headers.get("Accept", ""))
        return web.Response(body=page.body, headers={"Content-Type": page.content_type})

    return metrics


def _ready(counted: KeeperMetrics) -> _Handler:
    async def ready(request: web.Request) -> web.Response:
        del request
        if counted.registry.get_sample_value("mediator_shim_watching"):
            return web.Response(text="watching\n")
        return web.Response(status=503, text="the pods cannot be watched; see the log\n")

    return ready


async def _well(request: web.Request) -> web.Response:
    del request
    return web.Response(text="ok\n")
