"""Style sheet, script and icon: read once, and kept by browsers until they change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from aiohttp import web

from mediator.web.console.guarding import ROOT

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


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
