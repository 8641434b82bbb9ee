"""Who may use the console: signed in by a cookie that needs no memory here, by forms of our own.

Every request passes `guard`, and every answer has the headers that keep its page to itself.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlencode

import structlog
from aiohttp import web
from yarl import URL

from mediator.errors import BadRequest, Forbidden, TooLarge, TooSlow, Unauthenticated
from mediator.settings.schema import Role
from mediator.web.middleware import Handler
from mediator.web.services import SERVICES, Holder
from mediator.web.tokens import may

_log = structlog.get_logger()
ROOT = "/console"
SIGN_IN = f"{ROOT}/sign-in"
COOKIE = "mediator_session"
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

LIFE = timedelta(hours=12)
"""How long somebody stays signed in."""
_SESSION = b"mediator console session"
_FORM = b"mediator console form"
_COOKIE = re.compile(r"([A-Za-z0-9._-]{1,64})\.([0-9]{1,11})\.([A-Za-z0-9_-]{1,40})\.[0-9a-f]{64}")
MOST = 10
"""Failures of one address within `WINDOW`."""
WINDOW = timedelta(minutes=1)
_ADDRESSES = 1000
"""Addresses remembered; beyond it the oldest is forgotten, so that memory is bounded."""


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


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a form was posted by a page of this origin.

    Browsers say so in Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/) where the connection
    is trustworthy (https or localhost), whatever a proxy makes of the Host; elsewhere Origin is
    held against Host. What says neither is no browser, and has the API instead.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    try:
        origin = URL(headers.get("Origin", ""))
    except ValueError:
        return False
    return bool(origin.host) and origin.authority == _authority(headers.get("Host", ""), origin)


def _authority(host: str, origin: URL) -> str:
    """The Host as `URL.authority` writes it, with the scheme's own port."""
    try:
        return URL(f"{origin.scheme}://{host}").authority
    except ValueError:
        return ""


def redirect(location: str) -> web.Response:
    """See another page; also after a form, so that a reload does not send it again."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every answer; a handler may have set stricter ones."""
    del request
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


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


def by_https(headers: Mapping[str, str], *, secure: bool) -> bool:
    """Whether the browser speaks https, if only to the proxy before the mediator.

    Only for whether a cookie is to be sent by https alone: who forges the header harms himself.
    """
    return secure or headers.get("X-Forwarded-Proto", "").partition(",")[0].strip() == "https"


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Somebody who is signed in."""

    holder: Holder
    until: datetime
    """whole seconds"""
    nonce: str
    """makes each session another one"""

    @property
    def may_operate(self) -> bool:
        """Whether they may retry and cancel."""
        return may(self.holder, Role.OPERATOR)

    @property
    def form_token(self) -> str:
        """What forms carry, so that no other site can post one for the holder (CSRF)."""
        return _mac(self.holder, _FORM, self._payload)

    def is_form_token(self, text: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token.encode(), text.encode(errors="replace"))

    def sealed(self) -> str:
        """The value of the cookie."""
        return f"{self._payload}.{_mac(self.holder, _SESSION, self._payload)}"

    @property
    def _payload(self) -> str:
        return f"{self.holder.name}.{int(self.until.timestamp())}.{self.nonce}"


def may_sign_in(holder: Holder) -> bool:
    """Whether the console has something for the holder of such a token."""
    return may(holder, Role.VIEWER)


def begin(holder: Holder, *, now: datetime) -> Session:
    """Sign somebody in."""
    until = (now + LIFE).replace(microsecond=0)
    return Session(holder=holder, until=until, nonce=secrets.token_urlsafe(12))


def unsealed(cookie: str, holders: Iterable[Holder], *, now: datetime) -> Session | None:
    """The session that the cookie stands for; None: it is forged, too old, or its token is gone."""
    read = _COOKIE.fullmatch(cookie)
    if read is None:
        return None
    name, until, nonce = read.groups()
    found = [holder for holder in holders if holder.name == name and may_sign_in(holder)]
    if not found:
        return None
    session = Session(holder=found[0], until=datetime.fromtimestamp(int(until), UTC), nonce=nonce)
    genuine = hmac.compare_digest(session.sealed().encode(), cookie.encode())
    return session if genuine and now < session.until <= now + LIFE else None


def _mac(holder: Holder, purpose: bytes, payload: str) -> str:
    """Of two purposes never the same, and never that of a signed hand-over: the key is apart."""
    key = hmac.digest(holder.secret.reveal().encode(), purpose, "sha256")
    return hmac.digest(key, payload.encode(), "sha256").hex()


SESSION = web.RequestKey("session", Session)
FORM = web.RequestKey("form", Mapping[str, str])


class Throttle:
    """Counts failures by address. An address behind a proxy is the proxy's."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def __len__(self) -> int:
        """Addresses that are remembered."""
        return len(self._failures)

    def wait(self, address: str, *, now: datetime) -> int:
        """Seconds until the address is listened to again; 0: now."""
        since, count = self._failures.get(address, (now, 0))
        left = since + WINDOW - now
        # A clock that was set back must not shut anybody out for long.
        if count < MOST or not timedelta(0) < left <= WINDOW:
            return 0
        return int(left.total_seconds()) + 1

    def failed(self, address: str, *, now: datetime) -> None:
        """It was wrong once more."""
        since, count = self._failures.pop(address, (now, 0))
        if not timedelta(0) <= now - since < WINDOW:
            since, count = now, 0
        self._failures[address] = (since, count + 1)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
