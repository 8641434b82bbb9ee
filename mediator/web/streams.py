"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from mediator.errors import NotFound, StoreUnavailable

_log = structlog.get_logger()
CONTENT_TYPE = "text/event-stream"
_PATIENCE = 30.0
"""Seconds a reader may leave what was sent to it unread."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    name: str
    data: dict[str, Any]


async def stream(request: web.Request, events: AsyncGenerator[Event | None]) -> web.StreamResponse:
    """Send them until there are no more, or nobody reads them. None is a sign of life."""
    response = web.StreamResponse(
        headers={
            "Content-Type": CONTENT_TYPE,
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
        }
    )
    response.force_close()  # the end of the stream is the end of the connection
    try:
        await response.prepare(request)
        async with aclosing(events):
            async for event in events:
                async with asyncio.timeout(_PATIENCE):
                    await response.write(_sent(event))
    except ConnectionResetError:
        pass  # the reader has gone
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except (StoreUnavailable, NotFound) as error:
        _log.warning("output not followed any further", path=request.path, reason=str(error))
    return response


def _sent(event: Event | None) -> bytes:
    if event is None:
        return b":\n\n"
    return f"event: {event.name}\ndata: {json.dumps(event.data)}\n\n".encode()
