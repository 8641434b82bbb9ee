"""What aiohttp says when no handler is asked: a request that is not HTTP, or is too long.

aiohttp answers those itself, in plain text; here they become problem documents like every other
error. Its seams for that are `RequestHandler.handle_error` and `BaseRunner._make_server`.
"""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

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
        if status < 500:
            _log.info("not HTTP", remote=request.remote, reason=type(exc).__name__)
        else:
            _log.error("request crashed", remote=request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun; there is no way to take it back")
        response = problem(status, _sentence(status, exc))
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
    """Runs an application whose every error is a problem document."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)
