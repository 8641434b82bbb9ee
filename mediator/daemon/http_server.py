"""Opens and closes the ports, and does otherwise what aiohttp does by itself: errors, shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from structlog.contextvars import bound_contextvars

from mediator.errors import SettingsError
from mediator.settings.schema import Http
from mediator.web.app import make_api, make_health
from mediator.web.middleware import fresh_id, problem
from mediator.web.services import Services

_log = structlog.get_logger()

LONGEST_TARGET = 128 * 1024
"""Bytes of the request line: arguments travel in it, and percent-encoding makes three of one."""
IDLE = 75.0
"""Seconds a connection may take for the headers of its next request, its first included."""
FIRST_WORD = 1.0
"""Seconds that who has connected gets at shutdown to send a request."""
LAST_ANSWERS = 5.0
"""Seconds that requests in progress get at shutdown, when all they wait for has ended."""
_BACKLOG = 1024
"""Connections that may wait to be accepted."""


def listeners(http: Http, services: Services) -> dict[str, Listener]:
    """The ports of the settings, by the name of their URL in the ready line."""
    # Port 0 is any port, so two of them are two ports.
    apart = http.metrics_port is not None and (http.metrics_port != http.port or not http.port)
    api = make_api(services, with_health=not apart, with_console=http.console)
    found = {"url": Listener(app=api, host=http.host, port=http.port, key="http.port")}
    if apart and http.metrics_port is not None:
        health = make_health(services)
        found["metrics_url"] = Listener(
            app=health, host=http.host, port=http.metrics_port, key="http.metrics_port"
        )
    return found


@dataclass(kw_only=True, slots=True)
class Listener:
    """One application on one port."""

    app: web.Application
    host: str
    port: int
    key: str
    """the settings key of the port, for errors"""
    idle: float = IDLE
    _runner: DrainingRunner | None = field(default=None, init=False)

    async def open(self) -> str:
        """Listen; the URL. Raises `SettingsError` when the address cannot be had."""
        self._runner = DrainingRunner(
            self.app,
            access_log=None,
            keepalive_timeout=self.idle,
            max_line_size=LONGEST_TARGET,
            shutdown_timeout=1.0,  # after `drain`: for writing the last answers
            # What was signed is what was sent: a body is never unpacked on the way in.
            auto_decompress=False,
        )
        await self._runner.setup()
        try:
            host, port = await self._runner.listen(self.host, self.port)
        except OSError as error:
            await self.close()
            raise SettingsError(self._taken(error)) from error
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _taken(self, error: OSError) -> str:
        return (
            f"{self.key}: cannot listen on {self.host} port {self.port}: {error.strerror};"
            f" choose another with MEDIATOR_{self.key.upper().replace('.', '__')}, or stop who"
            " uses it"
        )

    async def close(self) -> None:
        """Stop listening, let requests in progress end for `LAST_ANSWERS`, then cut them."""
        if self._runner is not None:
            await self._runner.drain(LAST_ANSWERS, silence=FIRST_WORD)
            await self._runner.cleanup()
            self._runner = None


class DrainingRunner(web.AppRunner):
    """Runs an application: every error is a problem document, and its end cuts no request off."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, **options)
        self._answering = 0
        self._changed = asyncio.Event()
        self._listening: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Listen there; the address. Raises OSError when it cannot be had."""
        assert self.server is not None  # noqa: S101 - it was set up
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self.server, host, port, backlog=_BACKLOG)
        found_host, found_port, *_ = self._listening.sockets[0].getsockname()
        return found_host, found_port

    async def drain(self, seconds: float, *, silence: float) -> None:
        """Listen no more, and give requests in progress `seconds` to be answered.

        Who was accepted and has asked for nothing yet gets `silence` seconds to do so. `cleanup`
        alone would not do: it hangs up on them, and drops what still comes of bodies. Who waits
        in the queue to be accepted is hung up on by the kernel, and hands over again.
        """
        if self._listening is not None:
            self._listening.close()
        await self._until(lambda: not self._silent, silence)
        await self._until(lambda: not self._answering, seconds)

    @property
    def _silent(self) -> set[web.RequestHandler]:
        return self.server.silent if isinstance(self.server, _HttpServer) else set()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = made.request_handler

        async def counted(request: web.BaseRequest) -> web.StreamResponse:
            self._answering += 1
            self._silent.discard(request.protocol)
            self._changed.set()
            try:
                return await handle(request)
            finally:
                self._answering -= 1
                self._changed.set()

        return _HttpServer(counted, request_factory=made.request_factory, **self._kwargs)


class _HttpServer(web.Server):
    """Knows which connections have not asked for anything yet."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.silent: set[web.RequestHandler] = set()

    def __call__(self) -> web.RequestHandler:
        return HttpConnection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.silent.add(handler)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self.silent.discard(handler)


class HttpConnection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer with a problem document and close: where the next request begins is unknown."""
        del message  # it quotes what was sent
        with bound_contextvars(request_id=fresh_id()):
            return self._answer(request, status, exc)

    def _answer(
        self, request: web.BaseRequest, status: int, error: BaseException | None
    ) -> web.StreamResponse:
        if status < 500:
            _log.info("not HTTP", remote=request.remote, reason=type(error).__name__)
        else:
            _log.error("request crashed", remote=request.remote, exc_info=error)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun; there is no way to take it back")
        response = problem(status, _sentence(status, error))
        response.force_close()
        return response


def _sentence(status: int, error: BaseException | None) -> str:
    if status >= 500:
        return "The mediator failed on this request; its log says why."
    if isinstance(error, LineTooLong):
        return "The request line or a header is too long; arguments travel in the request line."
    if isinstance(error, BadHttpMethod):
        return "This is not HTTP; if it is TLS, a proxy in front of the mediator must end it."
    if isinstance(error, HttpProcessingError):
        return "The request is not well-formed HTTP."
    return "The request cannot be read."
