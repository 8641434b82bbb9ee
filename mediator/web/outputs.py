"""What an attempt has written: as a document, as text, or as it comes."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import structlog
from aiohttp import web

from mediator.errors import BadRequest, NotFound, StoreUnavailable
from mediator.model.attempts import Attempt
from mediator.model.deliveries import Delivery
from mediator.runners.live import Live
from mediator.settings.tree import Role
from mediator.web.documents import OutputDocument, text_of
from mediator.web.following import Event, Following
from mediator.web.services import SERVICES
from mediator.web.tokens import require

_log = structlog.get_logger()
_STREAM = "text/event-stream"
_FOLLOW = {"": True, "true": True, "false": False}
_PATIENCE = 30.0
"""Seconds a reader may leave what was sent to it unread."""


async def show_output(request: web.Request) -> web.StreamResponse:
    """What the latest attempt has written, or another one; with `follow` all that comes too."""
    require(request, Role.VIEWER)
    services = request.app[SERVICES]
    follow = _follow(request)
    asked = _number(request)
    delivery = await services.store.find(request.match_info["id"])
    attempt = _attempt(delivery, asked)
    if follow:
        first = 1 if attempt is None else attempt.number
        return await _stream(request, Following(services, delivery.id, first=first))
    live = None if attempt is None else services.live.find(delivery.id, attempt.number)
    shown = _document(delivery, attempt, live)
    if "text/plain" in request.headers.get("Accept", ""):
        return web.Response(text=shown.stdout + shown.stderr)
    return web.Response(text=shown.model_dump_json(), content_type="application/json")


def _follow(request: web.Request) -> bool:
    value = request.query.get("follow", "false")
    if value not in _FOLLOW:
        raise BadRequest("follow is neither true nor false.")
    wanted = _FOLLOW[value] or _STREAM in request.headers.get("Accept", "")
    return wanted and request.method != "HEAD"


def _number(request: web.Request) -> int | None:
    value = request.query.get("attempt")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value)):
        raise BadRequest("attempt is not the number of an attempt: 1, 2, ...")
    return int(value)


def _attempt(delivery: Delivery, number: int | None) -> Attempt | None:
    """That attempt, the latest by default; None when there is none yet."""
    if number is None:
        return delivery.attempts[-1] if delivery.attempts else None
    found = [attempt for attempt in delivery.attempts if attempt.number == number]
    if not found:
        raise NotFound(f"delivery {delivery.id} has no attempt {number}.")
    return found[0]


def _document(delivery: Delivery, attempt: Attempt | None, live: Live | None) -> OutputDocument:
    texts = {"stdout": "", "stderr": ""}
    sizes = dict.fromkeys(texts, 0)
    for stream in texts:
        if live is not None:
            held = b"".join(piece.data for piece in live.since(0) if piece.stream == stream)
            texts[stream], sizes[stream] = text_of(held), live.sizes[stream]
        elif attempt is not None:
            output = attempt.stdout if stream == "stdout" else attempt.stderr
            texts[stream], sizes[stream] = text_of(output.kept), output.size
    return OutputDocument(
        delivery=delivery.id,
        state=delivery.state,
        attempt=None if attempt is None else attempt.number,
        running=attempt is not None and attempt.outcome is None,
        stdout=texts["stdout"],
        stdout_bytes=sizes["stdout"],
        stderr=texts["stderr"],
        stderr_bytes=sizes["stderr"],
    )


async def _stream(request: web.Request, following: Following) -> web.StreamResponse:
    """Server-sent events until there are no more, or nobody reads them."""
    response = web.StreamResponse(
        headers={"Content-Type": _STREAM, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
    response.force_close()  # the end of the stream is the end of the connection
    try:
        await response.prepare(request)
        async with aclosing(following.events()) as events:
            async for event in events:
                async with asyncio.timeout(_PATIENCE):
                    await response.write(_sent(event))
    except ConnectionResetError:
        pass  # the reader has gone
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except (StoreUnavailable, NotFound) as error:
        _log.warning("output not followed any further", path=request.path[:200], reason=str(error))
    return response


def _sent(event: Event | None) -> bytes:
    """As https://html.spec.whatwg.org/multipage/server-sent-events.html wants it."""
    if event is None:
        return b":\n\n"
    return f"event: {event.name}\ndata: {json.dumps(event.data)}\n\n".encode()
