"""A hand-over as it arrived: who sent it, what, and how it was called.

The order of the checks is the order of their cost and of what they give away: the announced
length, who it is (before the body is read), then the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web

from mediator.model.keys import Key
from mediator.model.signatures import check_body
from mediator.model.tickets import Ticket, read_ticket
from mediator.tracing.context import TraceContext
from mediator.web.admission import admit, trace_of
from mediator.web.handover import Call, read_body, read_query
from mediator.web.services import SERVICES

T = TypeVar("T")
TEST = "TEST"
"""The event of SecureChange's Test button."""
_TEST_ROOT = "ticket_info"
_QUICK = 65536
"""Bytes; a larger ticket is hashed and read in a thread, so that others are answered meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Who hands over."""

    id: str
    """of the key, or of the token"""
    key: Key | None
    """what limits it to some scripts; None: nothing does"""

    def opens(self, script: str) -> bool:
        """Whether it may hand tickets to `script` (its file name)."""
        return self.key is None or self.key.opens(script)

    @property
    def limited(self) -> bool:
        """Whether it may know only some of the scripts."""
        return self.key is not None and self.key.scripts is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One hand-over, proved and complete."""

    sender: Sender
    idempotency_key: str
    call: Call
    body: bytes = field(repr=False)
    trace: TraceContext | None = None
    """the span that hands it over"""

    async def ticket(self, roots: Sequence[str]) -> Ticket:
        """The ticket, looked at. The Test button sends `<ticket_info/>` whatever the kind.

        Raises `NotATicket`.
        """
        accepted = (*roots, _TEST_ROOT) if self.call.event == TEST else roots
        return await in_thread_if_large(self.body, lambda: read_ticket(self.body, roots=accepted))

    def is_test(self, ticket: Ticket) -> bool:
        """Whether SecureChange's Test button was pressed."""
        return self.call.event == TEST or (not self.call.event and ticket.is_test_button)


async def arrive(request: web.Request) -> Arrival:
    """Take in a signed hand-over. Raises what `admit`, `read_body` and `read_query` raise."""
    services = request.app[SERVICES]
    verified = admit(request)
    body = await read_body(request, services.body_limit, seconds=services.body_seconds)
    await in_thread_if_large(body, lambda: check_body(verified.digest, body))
    return Arrival(
        sender=Sender(id=verified.key.id, key=verified.key),
        idempotency_key=verified.idempotency_key,
        call=read_query(request.rel_url.raw_query_string),
        body=body,
        trace=trace_of(request),
    )


async def in_thread_if_large(body: bytes, work: Callable[[], T]) -> T:
    """Do what takes time in proportion to the body."""
    return work() if len(body) <= _QUICK else await asyncio.to_thread(work)
