"""Errors as RFC 9457 problem documents, one sentence for a person in `detail`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
import uuid_utils
from aiohttp import web
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from mediator.errors import MediatorError, TooLarge, TooSlow, Unauthenticated

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = structlog.get_logger()
TOLD = web.RequestKey("told", bool)
"""That the log already says why this request is not answered with success."""


def problem(status: int, detail: str, *, retry_after: int | None = None) -> web.Response:
    """A problem document; `retry_after` in seconds where another try is worth it."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(
        {
            "title": HTTPStatus(status).phrase,
            "status": int(status),
            "detail": detail,
            # As the log lines of this request have it.
            "request_id": get_contextvars().get("request_id", ""),
        },
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )


def problem_of(error: MediatorError) -> web.Response:
    """The problem document of an error of ours."""
    response = problem(error.status, error.detail, retry_after=error.retry_after)
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer" if error.reason == "token" else "Signature"
    if error.delivery:
        response.headers["Mediator-Delivery"] = error.delivery
    if isinstance(error, TooLarge | TooSlow):
        response.force_close()  # the rest of the body is not worth reading
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem document."""
    try:
        return await handler(request)
    except MediatorError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and TOLD not in request:
            _log.warning(
                "request failed",
                path=request.path[:200],
                status=int(error.status),
                reason=error.detail,
            )
        return problem_of(error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = problem(error.status, _sentence(request, error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:  # noqa: BLE001 - the caller gets a sentence, the log gets the rest
        _log.exception("request crashed", path=request.path[:200])
        return problem(500, "The mediator failed on this request; its log says why.")


def _sentence(request: web.Request, error: web.HTTPException) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return f"There is nothing at {request.path[:200]}; /v1/openapi.json lists what there is."
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible here."
    return error.reason


# An id for every request: in its log lines, in its answer and in its problem document.


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
