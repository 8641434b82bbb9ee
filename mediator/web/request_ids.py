"""An id for every request: in its log lines, in its answer and in its problem document.

A proxy or a client may bring one in `X-Request-ID`. One that is unfit for a log line is replaced,
not refused.
"""

from __future__ import annotations

import re

import uuid_utils
from aiohttp import web
from structlog.contextvars import bind_contextvars, clear_contextvars

from mediator.web.problems import Handler

HEADER = "X-Request-ID"
_FIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,63}")
_ID = web.RequestKey("request_id", str)


def request_id(request: web.Request) -> str:
    """The one that came with it, else one that is made for it."""
    if _ID not in request:
        sent = request.headers.getall(HEADER, [""])
        fits = len(sent) == 1 and _FIT.fullmatch(sent[0])
        request[_ID] = sent[0] if fits else fresh()
    return request[_ID]


def fresh() -> str:
    """A new one."""
    return str(uuid_utils.uuid7())


@web.middleware
async def identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have every log line of the request tell its id, and what else is bound meanwhile."""
    bind_contextvars(request_id=request_id(request))
    try:
        return await handler(request)
    finally:
        clear_contextvars()  # the next request of the connection has the same context


async def tell(request: web.Request, response: web.StreamResponse) -> None:
    """Name it in the answer; a signal, since some answers are made before any middleware."""
    response.headers[HEADER] = request_id(request)
