"""A hand-over as its request tells it: the sender, how the shim was called, the ticket, wishes.

Only reading a body needs a request; the rest serves `mediator run` as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from mediator.errors import BadRequest, TooLarge, TooSlow
from mediator.model.signatures import Key
from mediator.model.ticket import Ticket, read_ticket
from mediator.tracing.context import TraceContext

T = TypeVar("T")
TEST = "TEST"
"""The event of SecureChange's Test button."""
_TEST_ROOT = "ticket_info"
_QUICK = 65536
"""Bytes; a larger ticket is hashed and read in a thread, so that others are answered meanwhile."""
_VARIABLE = re.compile(r"SCW_[A-Za-z0-9_]{1,100}")
_EVENT = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_MOST_PARAMETERS = 1000
_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,6})\"?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class HandOver:
    """One hand-over, proved and complete."""

    sender: Sender
    idempotency_key: str
    call: Call
    body: bytes = field(repr=False)
    trace: TraceContext | None = None
    """the span that hands it over"""

    async def ticket(self, roots: Sequence[str]) -> Ticket:
        """The ticket, for a script that accepts these root elements. Raises `NotATicket`."""
        accepted = self.call.roots(roots)
        return await in_thread_if_large(self.body, lambda: read_ticket(self.body, roots=accepted))


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
class Call:
    """What SecureChange called the shim with."""

    event: str
    """value of `SCW_EVENT`; empty when it was not set"""
    variables: Mapping[str, str]
    arguments: tuple[str, ...]

    def roots(self, roots: Sequence[str]) -> Sequence[str]:
        """Root elements the ticket may have, where `roots` are those of the script's policy."""
        # The Test button sends <ticket_info/> whatever the kind.
        return (*roots, _TEST_ROOT) if self.event == TEST else roots

    def is_test(self, ticket: Ticket) -> bool:
        """Whether SecureChange's Test button was pressed."""
        return self.event == TEST or (not self.event and ticket.is_test_button)


def read_query(query: str) -> Call:
    """Read the raw query string. Raises `BadRequest` naming the parameter.

    Bytes that are not UTF-8 survive as lone surrogates, the way Python passes arguments on.
    """
    variables: dict[str, str] = {}
    arguments: list[str] = []
    for name, value in _pairs(query):
        if "\x00" in value:
            raise BadRequest(
                f"The parameter {name} holds a NUL byte, which no script can be given."
            )
        if name == "arg":
            arguments.append(value)
        elif _VARIABLE.fullmatch(name):
            if name in variables:
                raise BadRequest(f"The parameter {name} is there more than once.")
            variables[name] = value
        else:
            raise BadRequest(
                f"The parameter {name[:100]!r} is unknown; there are arg and SCW_* variables."
            )
    event = variables.get("SCW_EVENT", "")
    if not _EVENT.fullmatch(event):
        raise BadRequest("SCW_EVENT must be a word such as CREATE or ADVANCE.")
    return Call(event=event, variables=variables, arguments=tuple(arguments))


def _pairs(query: str) -> list[tuple[str, str]]:
    if not query:
        return []
    try:
        return parse_qsl(
            query,
            keep_blank_values=True,
            strict_parsing=True,
            errors="surrogateescape",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError as error:
        raise BadRequest(f"The query string cannot be read: {error}.") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """What a `Prefer` header (RFC 7240) asks for."""

    respond_async: bool = False
    wait: float | None = None
    """seconds"""

    def patience(self, timeout: timedelta) -> timedelta:
        """How long the caller waits for a script that may take `timeout`."""
        return timeout if self.wait is None else min(timeout, timedelta(seconds=self.wait))


def read_preference(value: str) -> Preference:
    """Read a `Prefer` header; what is not understood is ignored, as the RFC wants."""
    parts = [part.strip() for part in value.lower().split(",")]
    waits = [match for part in parts if (match := _WAIT.fullmatch(part))]
    return Preference(
        respond_async="respond-async" in parts,
        wait=float(waits[0][1]) if waits else None,
    )


def check_length(request: web.Request, limit: int) -> None:
    """Refuse by the announced length, before anything is read. Raises `TooLarge`."""
    if request.content_length is not None:
        refuse_too_large(request.content_length, limit)


async def read_body(request: web.Request, limit: int, *, seconds: float) -> bytes:
    """The body, read no further than the limit and no longer than `seconds`.

    Raises `TooLarge`, `TooSlow`, or `BadRequest` when it was cut off.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.content.iter_any():
                size += len(part)
                refuse_too_large(size, limit)
                parts.append(part)
    except TimeoutError as error:
        raise TooSlow(f"The ticket did not arrive within {seconds:g} seconds.") from error
    except (HttpProcessingError, HTTPException, ConnectionError) as error:
        raise BadRequest("The body ended before it was complete.") from error
    return b"".join(parts)


def refuse_too_large(size: int, limit: int) -> None:
    """Raise `TooLarge` for a ticket of so many bytes."""
    if size > limit:
        raise TooLarge(
            f"The ticket is larger than {limit} bytes; http.body_limit in the settings can be"
            " raised."
        )


async def in_thread_if_large(body: bytes, work: Callable[[], T]) -> T:
    """Do what takes time in proportion to the body."""
    return work() if len(body) <= _QUICK else await asyncio.to_thread(work)
