"""What aiohttp does by itself and should do otherwise: its own errors, and its shutdown.

A request that is not HTTP is answered without asking a handler, in plain text; here it becomes a
problem document like every other error. The seams are `RequestHandler.handle_error` and
`BaseRunner._make_server`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from structlog.contextvars import bound_contextvars

from mediator.web import request_ids
from mediator.web.problems import problem

_log = structlog.get_logger()


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
    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application: every error is a problem document, and its end cuts no request off."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, **options)
        self._answering = 0
        self._quiet = asyncio.Event()

    async def drain(self, seconds: float) -> None:
        """Listen no more, and give requests in progress `seconds` to be answered.

        `cleanup` alone would not do: it drops what still comes of their bodies.
        """
        for site in self.sites:
            await site.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._answering:
                    self._quiet.clear()
                    await self._quiet.wait()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = made.request_handler

        async def counted(request: web.BaseRequest) -> web.StreamResponse:
            self._answering += 1
            try:
                return await handle(request)
            finally:
                self._answering -= 1
                self._quiet.set()

        return _Server(counted, request_factory=made.request_factory, **self._kwargs)
