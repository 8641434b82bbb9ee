"""How long hand-overs wait for their answers, and which met a fault of the mediator itself."""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter

from aiohttp import web

from mediator.errors import MediatorError
from mediator.web.problems import Handler
from mediator.web.services import SERVICES


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
