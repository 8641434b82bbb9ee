"""Signing in with a token, and out."""

from __future__ import annotations

import re
from http import HTTPStatus

import structlog
from aiohttp import web

from mediator.web.console.auth import (
    COOKIE,
    FORM,
    ROOT,
    SESSION,
    SIGN_IN,
    Throttle,
    begin,
    may_sign_in,
    redirect,
    remember,
)
from mediator.web.console.rendering import page
from mediator.web.services import SERVICES, Holder
from mediator.web.tokens import holder_of

_log = structlog.get_logger()
THROTTLE = web.AppKey("throttle", Throttle)
_OURS = re.compile(rf"{ROOT}(?:[/?][!-\[\]-~]*)?", re.ASCII)
"""A page to go on to: ours, without a backslash, which browsers take for a slash."""


async def show_sign_in(request: web.Request) -> web.StreamResponse:
    """The form."""
    onward = _onward(request.query.get("next", ""))
    if request.get(SESSION) is not None:
        return redirect(onward)
    return await _form(request, onward)


async def sign_in(request: web.Request) -> web.StreamResponse:
    """Take a token for a session."""
    services, form = request.app[SERVICES], request[FORM]
    onward, now = _onward(form.get("next", "")), services.clock.now()
    throttle, address = request.app[THROTTLE], request.remote or ""
    if seconds := throttle.wait(address, now=now):
        wrong = f"Too many wrong tokens came from your address; wait {seconds} seconds."
        response = await _form(request, onward, wrong, HTTPStatus.TOO_MANY_REQUESTS)
        response.headers["Retry-After"] = str(seconds)
        return response
    holder = holder_of(form.get("token", "").strip(), services.holders)
    if holder is None or not may_sign_in(holder):
        throttle.failed(address, now=now)
        return await _refused(request, onward, holder)
    _log.info("signed in", by=holder.name, role=str(holder.role), remote=request.remote)
    response = redirect(onward)
    remember(request, response, begin(holder, now=now))
    return response


async def sign_out(request: web.Request) -> web.StreamResponse:
    """Have the browser forget the session."""
    _log.info("signed out", by=request[SESSION].holder.name, remote=request.remote)
    response = redirect(SIGN_IN)
    response.del_cookie(COOKIE, path=ROOT)
    return response


async def _refused(request: web.Request, onward: str, holder: Holder | None) -> web.Response:
    if holder is None:
        wrong = "That is not one of this mediator's tokens."
    else:
        wrong = f"The token {holder.name} may only hand over; the console needs viewer or operator."
    _log.warning("sign-in refused", remote=request.remote, reason=wrong)
    return await _form(request, onward, wrong, HTTPStatus.UNAUTHORIZED)


async def _form(
    request: web.Request, onward: str, wrong: str = "", status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    there_are = any(may_sign_in(holder) for holder in request.app[SERVICES].holders)
    return await page(
        request, "sign_in", status=status, onward=onward, wrong=wrong, there_are=there_are
    )


def _onward(wanted: str) -> str:
    """Never to another site, whatever a link says."""
    return wanted if _OURS.fullmatch(wanted) and not wanted.startswith(SIGN_IN) else ROOT
