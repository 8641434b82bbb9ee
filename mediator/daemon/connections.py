"""What aiohttp does by itself and should do otherwise: its own errors, and its shutdown.

A request that is not HTTP is answered without asking a handler, in plain text; here it becomes a
problem document like every other error. The seams are `RequestHandler.handle_error` and
`BaseRunner._make_server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from structlog.contextvars import bound_contextvars

from mediator.daemon.parting import accepted, keep_out
from mediator.web import request_ids
from mediator.web.problems import problem

_log = structlog.get_logger()
_BACKLOG = 1024
"""Connections that may wait to be accepted."""
_HANDSHAKE = 0.2
"""Seconds for connections that have begun to be complete: a round trip."""


class Connection(web.RequestHandler):
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
        with bound_contextvars(request_id=request_ids.fresh()):
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


class _Server(web.Server):
    """Knows which connections have not asked for anything yet."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.silent: set[web.RequestHandler] = set()

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.silent.add(handler)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self.silent.discard(handler)


class Runner(web.AppRunner):
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

        Who has connected and asked for nothing yet gets `silence` seconds to do so. `cleanup` alone
        would not do: it hangs up on them, and drops what still comes of bodies.
        """
        await self._listen_no_more()
        await self._until(lambda: not self._silent, silence)
        await self._until(lambda: not self._answering, seconds)

    @property
    def _silent(self) -> set[web.RequestHandler]:
        return self.server.silent if isinstance(self.server, _Server) else set()

    async def _listen_no_more(self) -> None:
        """Everybody whose connection was complete is answered, also who waits to be accepted."""
        assert self.server is not None  # noqa: S101 - it was set up
        if self._listening is None:
            return
        # Copies, since the event loop closes its own.
        listening = [sock.dup() for sock in self._listening.sockets]
        for sock in listening:
            keep_out(sock)
        await asyncio.sleep(_HANDSHAKE)
        self._listening.close()
        loop = asyncio.get_running_loop()
        for sock in listening:
            with sock:
                for connection in accepted(sock):
                    await loop.connect_accepted_socket(self.server, connection)

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

        return _Server(counted, request_factory=made.request_factory, **self._kwargs)
