"""What requests pass on their way to a handler and back, from the outermost on.

Every request has an id, in its log lines, its answer and its problem document. Every error becomes
a problem document (RFC 9457) with one sentence for a person in `detail`. A hand-over is besides a
span, is timed, and its refusal is counted and logged.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from time import perf_counter

import structlog
import uuid_utils
from aiohttp import web
from opentelemetry.trace import SpanKind
from structlog.contextvars import (
    bind_contextvars,
    bound_contextvars,
    clear_contextvars,
    get_contextvars,
)

from mediator.errors import Draining, MediatorError, TooLarge, TooSlow, Unauthenticated
from mediator.tracing.context import TraceContext, read_context, traced
from mediator.tracing.spans import Facts, context_of, known, span_of
from mediator.web.services import SERVICES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID = "X-Request-ID"
TOLD = web.RequestKey("told", bool)
"""That the log already says why this request is not answered with success."""

_log = structlog.get_logger()
_FIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,63}")
_ID = web.RequestKey("request_id", str)
_TRACE = web.RequestKey("trace", TraceContext)
_STATUS, _DELIVERY = "http.response.status_code", "mediator.delivery_id"
"""Attributes of the span, the first as OpenTelemetry's conventions name it."""


@web.middleware
async def identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have every log line of the request tell its id, and what else is bound meanwhile."""
    bind_contextvars(request_id=request_id(request))
    try:
        return await handler(request)
    finally:
        clear_contextvars()  # the next request of the connection has the same context


def request_id(request: web.Request) -> str:
    """The one that came with it, else one that is made for it."""
    if _ID not in request:
        sent = request.headers.getall(REQUEST_ID, [""])
        fits = len(sent) == 1 and _FIT.fullmatch(sent[0])
        request[_ID] = sent[0] if fits else fresh_id()
    return request[_ID]


def fresh_id() -> str:
    """An id for what is not a request, or came without one."""
    return str(uuid_utils.uuid7())


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Name it in the answer; a signal, since some answers are made before any middleware."""
    response.headers[REQUEST_ID] = request_id(request)


@web.middleware
async def leaving(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep no connection open for a next request that would find nobody any more."""
    response = await handler(request)
    if request.app[SERVICES].draining:
        response.force_close()
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


def _sentence(request: web.Request, error: web.HTTPException) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return f"There is nothing at {request.path[:200]}; /v1/openapi.json lists what there is."
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible here."
    return error.reason


def handing_over(handler: Handler) -> Handler:
    """A handler of hand-overs: it is timed and a span, and its refusals are counted and logged."""

    @wraps(handler)
    async def handled(request: web.Request) -> web.StreamResponse:
        intake = request.app[SERVICES].metrics.intake
        answer, began = "refused", perf_counter()
        try:
            response = await _spanned(handler, request)
            answer = "accepted" if response.status == HTTPStatus.ACCEPTED else "answered"
        except (MediatorError, web.HTTPException):
            raise
        except Exception:
            intake.crashed()
            raise
        finally:
            intake.answered(answer, perf_counter() - began)
        return response

    return handled


async def _spanned(handler: Handler, request: web.Request) -> web.StreamResponse:
    came, tracer = trace_of(request), request.app[SERVICES].tracer
    kind, facts = SpanKind.SERVER, _facts(request)
    with (
        span_of(tracer, "hand-over", kind=kind, parent=came, facts=facts) as span,
        bound_contextvars(**traced(here := context_of(span, came))),
    ):
        if here is not None:
            request[_TRACE] = here
        try:
            response = await handler(request)
        except MediatorError as error:
            tell_refused(request, error)
            noted = {_STATUS: int(error.status), _DELIVERY: error.delivery or None}
            span.set_attributes(known(noted))
            raise
        kept = response.headers.get("Mediator-Delivery")
        span.set_attributes(known({_STATUS: response.status, _DELIVERY: kept}))
        return response


def trace_of(request: web.Request) -> TraceContext | None:
    """The place of a hand-over in a trace: its span where there is one, else what it came with."""
    if _TRACE in request:
        return request[_TRACE]
    headers = request.headers
    return read_context(headers.getall("traceparent", ()), headers.getall("tracestate", ()))


def _facts(request: web.Request) -> Facts:
    resource = request.match_info.route.resource
    return {
        "http.request.method": request.method,
        "http.route": None if resource is None else resource.canonical,
        "mediator.script": request.match_info.get("script", "")[:100] or None,
        "mediator.request_id": request_id(request),
    }


def tell_refused(request: web.Request, error: MediatorError) -> None:
    """Count and log why a hand-over was refused, or kept and yet not answered."""
    request.app[SERVICES].metrics.intake.rejected(error)
    if TOLD not in request:
        _tell_why(request, error)
    request[TOLD] = True


def _tell_why(request: web.Request, error: MediatorError) -> None:
    fields = {"status": int(error.status), "reason": error.detail}
    if error.delivery:
        _log.warning("hand-over kept but not answered", **fields)
        return
    fields["script"] = request.match_info.get("script", "")[:100]
    if isinstance(error, Draining):
        _log.info("hand-over put off", **fields)
    else:
        _log.warning("hand-over refused", **fields, remote=request.remote)
