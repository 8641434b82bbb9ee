"""Making a page of a template and what it shows."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import aiohttp_jinja2
import structlog
from aiohttp import web
from jinja2 import PackageLoader, StrictUndefined

import mediator
from mediator.errors import MediatorError
from mediator.web.console import wording
from mediator.web.console.assets import address
from mediator.web.console.changes import CHANGES
from mediator.web.console.guarding import ROOT, SESSION, SIGN_IN
from mediator.web.problems import Handler
from mediator.web.services import SERVICES

_log = structlog.get_logger()
_FILTERS = {
    name: getattr(wording, name)
    for name in ("ago", "grouped", "lasted", "machine", "moment", "size")
}


def set_up(app: web.Application) -> None:
    """Make templates known to an application."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=PackageLoader("mediator.web.console"),
        autoescape=True,
        finalize=wording.finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        filters=_FILTERS,
    )
    environment.globals.update(
        asset=address,
        root=ROOT,
        sign_in=SIGN_IN,
        signs=wording.SIGNS,
        tones=wording.TONES,
        version=mediator.__version__,
    )


async def page(
    request: web.Request, name: str, *, status: int = HTTPStatus.OK, **shown: Any
) -> web.Response:
    """The template `name` with what it shows, and what every page shows."""
    session = request.get(SESSION)
    context = {
        "session": session,
        "here": request.path,
        "now": request.app[SERVICES].clock.now(),
        "pulse": "",
        **shown,
    }
    return aiohttp_jinja2.render_template(f"{name}.html", request, context, status=status)


async def pulse_of(request: web.Request) -> str:
    """What a page that follows changes shows as its `pulse`.

    To be read before what it shows: what changes in between is noticed then.
    """
    return await request.app[CHANGES].pulse()


@web.middleware
async def errors_as_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a page."""
    try:
        return await handler(request)
    except MediatorError as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("request failed", path=request.path, reason=error.detail)
        response = await _error_page(request, error.status, error.detail)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = await _error_page(request, error.status, _sentence(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:  # noqa: BLE001 - a person gets a sentence, the log gets the rest
        _log.exception("request crashed", path=request.path)
        return await _error_page(request, 500, "The mediator failed on this; its log says why.")


async def _error_page(request: web.Request, status: int, sentence: str) -> web.Response:
    return await page(
        request,
        "error",
        status=status,
        phrase=HTTPStatus(status).phrase,
        sentence=sentence[:1].upper() + sentence[1:],
    )


def _sentence(error: web.HTTPException) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return "There is no such page."
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return "That is not possible here."
    return error.reason
