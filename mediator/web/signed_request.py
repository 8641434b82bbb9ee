"""Whether a hand-over is worth reading: all that can be said before its body has come."""

from __future__ import annotations

from functools import wraps
from http import HTTPStatus
from time import perf_counter

import structlog
from aiohttp import web
from opentelemetry.trace import SpanKind
from structlog.contextvars import bound_contextvars

from mediator.errors import Draining, MediatorError
from mediator.model.signatures import Verified
from mediator.tracing.context import TraceContext, read_context, traced
from mediator.tracing.spans import Facts, context_of, known, span_of
from mediator.web.middleware import TOLD, Handler, problem, problem_of, request_id
from mediator.web.request import check_length
from mediator.web.schemas import KeyDocument
from mediator.web.services import SERVICES

_log = structlog.get_logger()
_VERIFIED = web.RequestKey("verified", Verified)
_TRACE = web.RequestKey("trace", TraceContext)
_STATUS, _DELIVERY = "http.response.status_code", "mediator.delivery_id"
"""Attributes of the span, the first as OpenTelemetry's conventions name it."""


def admit(request: web.Request) -> Verified:
    """Who hands over. Raises `Draining`, `TooLarge` or `Unauthenticated`."""
    if _VERIFIED in request:
        return request[_VERIFIED]
    services = request.app[SERVICES]
    if services.draining:
        raise Draining("The mediator is shutting down; try again in a few seconds.")
    check_length(request, services.body_limit)
    return services.verifier.verify(
        method=request.method,
        target=request.raw_path,
        headers=request.headers,
        now=services.clock.now(),
    )


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


def handing_over(handler: Handler) -> Handler:
    """A handler of hand-overs: a span, whose refusals are counted and logged."""

    @wraps(handler)
    async def handled(request: web.Request) -> web.StreamResponse:
        came = trace_of(request)
        with (
            span_of(
                request.app[SERVICES].tracer,
                "hand-over",
                kind=SpanKind.SERVER,
                parent=came,
                facts=_facts(request),
            ) as span,
            bound_contextvars(**traced(here := context_of(span, came))),
        ):
            if here is not None:
                request[_TRACE] = here
            try:
                response = await handler(request)
            except MediatorError as error:
                tell_refused(request, error)
                span.set_attributes(
                    known({_STATUS: int(error.status), _DELIVERY: error.delivery or None})
                )
                raise
            kept = response.headers.get("Mediator-Delivery")
            span.set_attributes(known({_STATUS: response.status, _DELIVERY: kept}))
            return response

    return handled


def _facts(request: web.Request) -> Facts:
    resource = request.match_info.route.resource
    return {
        "http.request.method": request.method,
        "http.route": None if resource is None else resource.canonical,
        "mediator.script": request.match_info.get("script", "")[:100] or None,
        "mediator.request_id": request_id(request),
    }


def trace_of(request: web.Request) -> TraceContext | None:
    """The place of a hand-over in a trace: its span where there is one, else what it came with."""
    if _TRACE in request:
        return request[_TRACE]
    headers = request.headers
    return read_context(headers.getall("traceparent", ()), headers.getall("tracestate", ()))


async def before_body(request: web.Request) -> web.StreamResponse | None:
    """The answer to `Expect`: what is going to be refused is refused unsent."""
    with bound_contextvars(request_id=request_id(request)):
        return await _before_body(request)


async def _before_body(request: web.Request) -> web.StreamResponse | None:
    if (unmet := await no_body(request)) is not None:
        return unmet
    try:
        request[_VERIFIED] = admit(request)
    except MediatorError as error:
        tell_refused(request, error)
        return problem_of(error)
    assert request.transport is not None  # noqa: S101 - the request has just arrived on it
    request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


async def no_body(request: web.Request) -> web.StreamResponse | None:
    """The answer to `Expect` where no body is read: nothing needs to be sent for an answer."""
    if request.headers["Expect"].lower() != "100-continue":
        with bound_contextvars(request_id=request_id(request)):
            return problem(417, "The header Expect can only be 100-continue.")
    return None


# How long hand-overs wait for their answers, and which met a fault of the mediator itself.


def timed(handler: Handler) -> Handler:
    """The same handler of hand-overs, measured."""

    async def handle(request: web.Request) -> web.StreamResponse:
        intake = request.app[SERVICES].metrics.intake
        answer, began = "refused", perf_counter()
        try:
            response = await handler(request)
            answer = "accepted" if response.status == HTTPStatus.ACCEPTED else "answered"
        except (MediatorError, web.HTTPException):
            raise
        except Exception:
            intake.crashed()
            raise
        finally:
            intake.answered(answer, perf_counter() - began)
        return response

    return handle


# GET /v1/key: whether a shim's key is accepted, and what it opens; for its self-test.


async def show_key(request: web.Request) -> web.Response:
    """The key that the request is signed with, as hand-overs are. Nothing is taken in.

    Raises `Unauthenticated`. It counts as no hand-over, so a shim that is only tried out sets off
    no alert.
    """
    key = admit(request).key
    scripts = None if key.scripts is None else tuple(sorted(key.scripts))
    document = KeyDocument(key=key.id, scripts=scripts)
    return web.Response(text=document.model_dump_json(), content_type="application/json")
