"""Rendering: a page of a template and what it shows, and how it writes times, sizes and states.

A page is drawn by the server alone. One that follows changes is told by `ChangeFeed` when to fetch
itself once more. What strangers write is kept harmless by `finalize` and by escaping.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from itertools import pairwise
from typing import Any

import aiohttp_jinja2
import structlog
from aiohttp import web
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

import mediator
from mediator.clock import wait_for_event
from mediator.errors import MediatorError
from mediator.model.delivery import Outcome, State
from mediator.model.visible import visible
from mediator.web.console.auth import ROOT, SESSION, SIGN_IN
from mediator.web.middleware import Handler
from mediator.web.services import SERVICES, Services
from mediator.web.sse import Event, stream
from mediator.web.ttl_cache import TtlCache

_log = structlog.get_logger()

PAUSE = 1.0
"""Seconds between two looks for changes."""
_FRESH = timedelta(seconds=0.5)
BEAT = 10
"""Looks without a change after which a sign of life is sent."""

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"

SIGNS: Mapping[str, str] = {
    State.PENDING: "◷",
    State.RUNNING: "▶",
    State.SUCCEEDED: "✓",
    State.DEAD: "✕",
    State.CANCELLED: "⊘",
}
"""A sign for each state, so that none is told by colour alone."""

TONES: Mapping[str, str] = {
    State.PENDING: "wait",
    State.RUNNING: "busy",
    State.SUCCEEDED: "good",
    State.DEAD: "bad",
    State.CANCELLED: "idle",
    Outcome.OK: "good",
    Outcome.FAILED: "bad",
    Outcome.BAD_ANSWER: "bad",
    Outcome.SIGNAL: "bad",
    Outcome.TIMEOUT: "bad",
    Outcome.CANCELLED: "idle",
    Outcome.NOT_STARTED: "bad",
    Outcome.LOST: "bad",
    Outcome.OUT_OF_MEMORY: "bad",
    Outcome.EVICTED: "bad",
    Outcome.NO_IMAGE: "bad",
    Outcome.UNSCHEDULABLE: "bad",
    Outcome.REFUSED: "bad",
}
"""Which of five tones a state or an outcome has."""

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def set_up(app: web.Application) -> None:
    """Make templates known to an application."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=PackageLoader("mediator.web.console"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        filters=_FILTERS,
    )
    environment.globals.update(
        asset=address,
        root=ROOT,
        sign_in=SIGN_IN,
        signs=SIGNS,
        tones=TONES,
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
        "change_token": "",
        **shown,
    }
    return aiohttp_jinja2.render_template(f"{name}.html", request, context, status=status)


async def change_token_of(request: web.Request) -> str:
    """What a page that follows changes shows as its change token.

    To be read before what it shows: what changes in between is noticed then.
    """
    return await request.app[CHANGES].change_token()


async def follow_changes(request: web.Request) -> web.StreamResponse:
    """Server-sent events for a page that shows what was so at the change token `since`."""
    since = request.query.get("since", "")
    return await stream(request, request.app[CHANGES].events(since))


class ChangeFeed:
    """Tells pages that something has changed in the store or the catalog, so that they look again.

    However many look, the store is asked twice a second at most.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._token = TtlCache(self._look, services.clock)

    async def change_token(self) -> str:
        """A word that is another one when something has changed."""
        return await self._token.get(_FRESH)

    async def _look(self) -> str:
        scripts = self._services.scripts.catalog.scripts.values()
        seen = (
            await self._services.store.change_token(),
            [(script.name, script.problem, script.warning, script.sha256) for script in scripts],
            self._services.draining,
        )
        return hashlib.sha256(repr(seen).encode(errors="backslashreplace")).hexdigest()[:16]

    async def events(self, seen: str) -> AsyncGenerator[Event | None]:
        """`changed` as often as it is another word than the last; None is a sign of life."""
        quiet = 0
        while not self._services.idle.is_set():
            token = await self.change_token()
            quiet = 0 if token != seen else quiet + 1
            if token != seen:
                yield Event("changed", {"change_token": token})
            elif quiet % BEAT == 0:
                yield None
            seen = token
            await wait_for_event(self._services.idle, seconds=PAUSE)


CHANGES = web.AppKey("changes", ChangeFeed)


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


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file."""

    body: bytes
    content_type: str
    version: str
    """of its content"""


@cache
def assets() -> Mapping[str, Asset]:
    """All of them by name."""
    folder = files("mediator.web.console") / "static"
    return {
        file.name: _asset(file.name, file.read_bytes())
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }


def _asset(name: str, body: bytes) -> Asset:
    return Asset(body, _TYPES[name.rpartition(".")[2]], hashlib.sha256(body).hexdigest()[:16])


def address(name: str) -> str:
    """Where a page finds it; another address for another content."""
    return f"{ROOT}/static/{name}?v={assets()[name].version}"


async def show_asset(request: web.Request) -> web.Response:
    """One static file. Nothing secret is in them: they need no session."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    # A replica of another version may be asked for a file it has in its own version only.
    current = request.query.get("v") == asset.version
    return web.Response(
        body=asset.body,
        content_type=asset.content_type,
        charset="utf-8",
        headers={"Cache-Control": _FOR_EVER if current else "no-cache"},
    )


def finalize(value: Any) -> Any:
    """What a page writes for an expression; a control or direction character as an escape.

    Every expression of every template passes here before it is escaped for HTML.
    """
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, keep="\n\t")
    return "" if value is None else value


def moment(time: datetime) -> str:
    """A time for people, in UTC: 2026-02-28 09:30:00."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def machine(time: datetime) -> str:
    """The same for programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def lasted(length: timedelta) -> str:
    """A length of time, no more exact than a person needs: 85 ms, 4.2 s, 3 min 20 s, 2 d 4 h."""
    seconds = max(length.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for (unit, size), (below, part) in pairwise(_UNITS):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def ago(time: datetime, now: datetime) -> str:
    """How long ago, or how soon, in one unit: 3 min ago, in 5 s."""
    seconds = (now - time).total_seconds()
    if abs(seconds) < 1:
        return "now"
    for unit, size in _UNITS:
        if abs(seconds) >= size:
            count = f"{int(abs(seconds) // size)} {unit}"
            return f"{count} ago" if seconds > 0 else f"in {count}"
    return "now"


def size(count: int) -> str:
    """Bytes for people: 320 bytes, 1.5 MiB."""
    for unit, least in _SIZES:
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} byte{'' if count == 1 else 's'}"


def grouped(count: int) -> str:
    """A number with its thousands apart: 1,000,000."""
    return f"{count:,}"


_FILTERS: dict[str, Callable[..., str]] = {
    "ago": ago,
    "grouped": grouped,
    "lasted": lasted,
    "machine": machine,
    "moment": moment,
    "size": size,
}
