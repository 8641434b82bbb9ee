"""A signed request (RFC 9421): whose it is, and whether it is worth reading its body."""

from __future__ import annotations

from aiohttp import web
from structlog.contextvars import bound_contextvars

from mediator.errors import MediatorError
from mediator.model.signatures import Verified, check_body
from mediator.web.middleware import problem, problem_of, request_id, tell_refused, trace_of
from mediator.web.openapi import Operation, refused
from mediator.web.request import (
    HandOver,
    Sender,
    check_length,
    in_thread_if_large,
    read_body,
    read_query,
)
from mediator.web.schemas import KeyDocument
from mediator.web.services import SERVICES

_VERIFIED = web.RequestKey("verified", Verified)


async def read_signed(request: web.Request) -> HandOver:
    """Take in a signed hand-over. Raises what `verify`, `read_body` and `read_query` raise."""
    services = request.app[SERVICES]
    verified = verify(request)
    body = await read_body(request, services.body_limit, seconds=services.body_seconds)
    await in_thread_if_large(body, lambda: check_body(verified.digest, body))
    return HandOver(
        sender=Sender(id=verified.key.id, key=verified.key),
        idempotency_key=verified.idempotency_key,
        call=read_query(request.rel_url.raw_query_string),
        body=body,
        trace=trace_of(request),
    )


def verify(request: web.Request) -> Verified:
    """Who signed it, by its headers alone. Raises `Draining`, `TooLarge` or `Unauthenticated`."""
    if _VERIFIED in request:
        return request[_VERIFIED]
    services = request.app[SERVICES]
    services.refuse_while_draining()
    check_length(request, services.body_limit)
    return services.verifier.verify(
        method=request.method,
        target=request.raw_path,
        headers=request.headers,
        now=services.clock.now(),
    )


async def before_body(request: web.Request) -> web.StreamResponse | None:
    """The answer to `Expect`: what is going to be refused is refused unsent."""
    with bound_contextvars(request_id=request_id(request)):
        if (unmet := await no_body(request)) is not None:
            return unmet
        try:
            request[_VERIFIED] = verify(request)
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


@Operation(
    name="showKey",
    summary="Whether a key is accepted. Signed as a hand-over without a body.",
    answers={200: KeyDocument, **refused(401, 503)},
    security="signature",
)
async def show_key(request: web.Request) -> web.Response:
    """The key that the request is signed with, for the shim's self-test. Nothing is taken in.

    Raises `Unauthenticated`. It counts as no hand-over, so a shim that is only tried out sets off
    no alert.
    """
    key = verify(request).key
    scripts = None if key.scripts is None else tuple(sorted(key.scripts))
    document = KeyDocument(key=key.id, scripts=scripts)
    return web.Response(text=document.model_dump_json(), content_type="application/json")
