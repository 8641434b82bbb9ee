"""GET /v1/key: whether a shim's key is accepted, and what it opens; for its self-test."""

from __future__ import annotations

from aiohttp import web

from mediator.web.admission import admit
from mediator.web.documents import KeyDocument


async def show_key(request: web.Request) -> web.Response:
    """The key that the request is signed with, as hand-overs are. Nothing is taken in.

    Raises `Unauthenticated`. It counts as no hand-over, so a shim that is only tried out sets off
    no alert.
    """
    key = admit(request).key
    scripts = None if key.scripts is None else tuple(sorted(key.scripts))
    document = KeyDocument(key=key.id, scripts=scripts)
    return web.Response(text=document.model_dump_json(), content_type="application/json")
