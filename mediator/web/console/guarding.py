"""What every request of the console passes: who asks, whether the form is ours, the headers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

import structlog
from aiohttp import web

from mediator.errors import BadRequest, Forbidden, TooLarge, TooSlow, Unauthenticated
from mediator.web.console.origin import by_https, same_origin
from mediator.web.console.sessions import LIFE, Session, unsealed
from mediator.web.problems import Handler
from mediator.web.services import SERVICES

_log = structlog.get_logger()

ROOT = "/console"
SIGN_IN = f"{ROOT}/sign-in"
COOKIE = "mediator_session"
SESSION = web.RequestKey("session", Session)
FORM = web.RequestKey("form", Mapping[str, str])
_OPEN = (SIGN_IN, f"{ROOT}/static/")
"""What is shown to anybody."""
_LARGEST_FORM = 16 * 1024
_PATIENCE = 10.0
"""Seconds a form may take to arrive."""

_HEADERS = {
    # Nothing comes from elsewhere, and nothing runs that is written into a page.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers send `Origin: null` with forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cache-Control": "no-store",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every answer; a handler may have set stricter ones."""
    del request
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who is signed in, and forms that come from a page of theirs."""
    session = _session_of(request)
    if session is not None:
        request[SESSION] = session
    elif not request.path.startswith(_OPEN):
        return _to_sign_in(request)
    if request.method == "POST":
        request[FORM] = await _form(request, session)
    return await handler(request)


def remember(request: web.Request, response: web.Response, session: Session) -> None:
    """Have the browser show the session with every request from now on."""
    response.set_cookie(
        COOKIE,
        session.sealed(),
        path=ROOT,
        max_age=int(LIFE.total_seconds()),
        httponly=True,
        secure=by_https(request.headers, secure=request.secure),
        # Not Strict: a link in an alert would lead to the sign-in page. Forms are guarded.
        samesite="Lax",
    )


def _session_of(request: web.Request) -> Session | None:
    services = request.app[SERVICES]
    cookie = request.cookies.get(COOKIE, "")
    return unsealed(cookie, services.holders, now=services.clock.now()) if cookie else None


def _to_sign_in(request: web.Request) -> web.Response:
    """To the sign-in page, and back here afterwards; a program gets a status instead."""
    if request.method not in {"GET", "HEAD"} or "text/html" not in request.headers.get(
        "Accept", "text/html"
    ):
        raise Unauthenticated("You are signed out; sign in and try again.", reason="token")
    back = {} if request.path in {ROOT, f"{ROOT}/"} else {"next": request.raw_path}
    return redirect(f"{SIGN_IN}?{urlencode(back)}" if back else SIGN_IN)


def redirect(location: str) -> web.Response:
    """See another page; also after a form, so that a reload does not send it again."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})


async def _form(request: web.Request, session: Session | None) -> Mapping[str, str]:
    """What was posted. Raises `Forbidden` when it does not come from a page of ours."""
    form = await _read(request)
    trusted = same_origin(request.headers)
    if session is not None and request.path != SIGN_IN:
        trusted = trusted and session.is_form_token(form.get("form", ""))
    if not trusted:
        _log.warning("form refused", path=request.path[:200], remote=request.remote)
        raise Forbidden(
            "This form does not come from a page of this console, or from an old one;"
            " load the page again and repeat what you did."
        )
    return form


async def _read(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise BadRequest("A form of this console is posted as application/x-www-form-urlencoded.")
    if (request.content_length or 0) > _LARGEST_FORM:
        raise TooLarge(f"A form of this console is no longer than {_LARGEST_FORM} bytes.")
    try:
        async with asyncio.timeout(_PATIENCE):
            posted = await request.post()
    except TimeoutError:
        raise TooSlow(f"The form did not arrive within {_PATIENCE:g} seconds.") from None
    except (ValueError, LookupError):
        raise BadRequest("The form cannot be read.") from None
    return {name: value for name, value in posted.items() if isinstance(value, str)}
