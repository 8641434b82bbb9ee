"""Whether a hand-over is worth reading: all that can be said before its body has come."""

from __future__ import annotations

import structlog
from aiohttp import web

from mediator.errors import Draining, MediatorError
from mediator.model.signatures import Verified
from mediator.web.handover import check_length
from mediator.web.problems import problem, problem_of
from mediator.web.services import SERVICES

_log = structlog.get_logger()
_VERIFIED = web.RequestKey("verified", Verified)


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
    """Count and log why a hand-over was refused."""
    request.app[SERVICES].metrics.intake.rejected(error)
    _log.warning(
        "hand-over refused",
        script=request.match_info.get("script", "")[:100],
        status=int(error.status),
        reason=error.detail,
        remote=request.remote,
    )


async def before_body(request: web.Request) -> web.StreamResponse | None:
    """The answer to `Expect`: what is going to be refused is refused unsent."""
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
        return problem(417, "The header Expect can only be 100-continue.")
    return None
