"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Any may be streamed; those of a delivery are its attempts and what they write, as they come.
"""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import web

from mediator.clock import wait_for_any
from mediator.errors import NotFound, StoreUnavailable
from mediator.model.delivery import Attempt, Delivery
from mediator.runners.output import OutputTail
from mediator.web.schemas import attempt_document, document
from mediator.web.services import Services

_log = structlog.get_logger()
CONTENT_TYPE = "text/event-stream"
_PATIENCE = 30.0
"""Seconds a reader may leave what was sent to it unread."""
BEAT = 10.0
"""Seconds of silence after which a sign of life is sent."""
LOOK = 1.0
"""Seconds after which the store is looked at again for what another mediator runs."""
_decoder = codecs.getincrementaldecoder("utf-8")


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


class DeliveryEvents:
    """Follows one delivery from one of its attempts on."""

    def __init__(self, services: Services, delivery_id: str, *, first: int) -> None:
        self._services = services
        self._id = delivery_id
        self._place = _AttemptProgress(number=first)

    async def events(self) -> AsyncGenerator[Event | None]:
        """Until it has ended or the mediator goes down; None is a sign of life.

        Raises `StoreUnavailable` or `NotFound`.
        """
        store, idle = self._services.store, self._services.idle
        silent = 0.0
        with self._services.live.follow(self._id) as news, store.notices.watch(self._id) as ended:
            while True:
                news.clear()
                ended.clear()
                if self._runs_here():
                    for event in self._place.pieces():
                        yield event
                else:
                    delivery = await store.find(self._id)
                    for event in self._told(delivery):
                        yield event
                    if delivery.state.ended:
                        return
                if idle.is_set():
                    return
                look = min(self._patience(), BEAT - silent)
                something = await wait_for_any(news, ended, idle, seconds=look)
                silent = 0.0 if something else silent + look
                if silent >= BEAT:
                    yield None
                    silent = 0.0

    def _patience(self) -> float:
        """Who shares the store sees what others run only by looking."""
        return BEAT if self._services.store.alone or self._runs_here() else LOOK

    def _runs_here(self) -> bool:
        """The store knows nothing new of an attempt that runs here."""
        live = self._place.live
        return live is not None and not live.over

    def _told(self, delivery: Delivery) -> Iterator[Event]:
        for attempt in delivery.attempts:
            if attempt.number >= self._place.number:
                yield from self._attempt(attempt)
        if delivery.state.ended:
            whole = document(delivery, outputs=False).model_dump(mode="json")
            yield Event("end", whole)

    def _attempt(self, attempt: Attempt) -> Iterator[Event]:
        if attempt.number > self._place.number:
            self._place = _AttemptProgress(number=attempt.number)
        place = self._place
        if not place.begun:
            place.begun = True
            yield self._tell(attempt, ended=False)
        place.live = place.live or self._services.live.find(self._id, attempt.number)
        yield from place.pieces()
        if attempt.outcome is not None:
            yield from place.rest(attempt)
            yield self._tell(attempt, ended=True)
            self._place = _AttemptProgress(number=attempt.number + 1)

    def _tell(self, attempt: Attempt, *, ended: bool) -> Event:
        told = attempt_document(attempt).model_dump(mode="json")
        if not ended:
            told |= {"ended": None, "outcome": None, "exit_code": None, "signal": None}
            told["reason"] = ""
        names = {"stdout", "stderr"}
        return Event("attempt", {key: told[key] for key in told if key not in names})


@dataclass(kw_only=True, slots=True)
class _AttemptProgress:
    """How much of one attempt has been told."""

    number: int
    begun: bool = False
    live: OutputTail | None = None
    told: int = 0
    """bytes of `live`"""
    decoders: dict[str, codecs.IncrementalDecoder] = field(default_factory=dict)

    def pieces(self) -> Iterator[Event]:
        """What has been written since, and first what was missed."""
        live = self.live
        if live is None:
            return
        if live.first > self.told:
            self.decoders.clear()
            yield Event("gap", {"attempt": self.number, "bytes": live.first - self.told})
        pieces = list(live.since(self.told))
        self.told = live.last
        for piece in pieces:
            yield from self.text(piece.stream, piece.data)

    def text(self, stream: str, data: bytes, *, final: bool = False) -> Iterator[Event]:
        """As UTF-8; a character may come in two pieces."""
        decoder = self.decoders.setdefault(stream, _decoder("replace"))
        text = decoder.decode(data, final)
        if text:
            yield Event(stream, {"attempt": self.number, "text": text})

    def rest(self, attempt: Attempt) -> Iterator[Event]:
        """What is still to be told of an attempt that has ended."""
        outputs = {"stdout": attempt.stdout, "stderr": attempt.stderr}
        for stream, output in outputs.items():
            kept = output.kept if self.live is None else b""
            yield from self.text(stream, kept, final=True)
