"""POST /v1/scripts/{script}/deliveries: a ticket is handed over.

Nothing is answered with success before the store has committed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
import uuid_utils
from aiohttp import web
from structlog.contextvars import bind_contextvars

from mediator.catalog.script import Script
from mediator.errors import Crowded, Forbidden, Full, NotFound, NotReady
from mediator.model.delivery import Accepted, NewDelivery, Repeat, TicketFields
from mediator.model.routing import explain, scripts_of
from mediator.model.signatures import Key, check_body
from mediator.model.ticket import Ticket, read_ticket
from mediator.tracing.context import TraceContext
from mediator.web.request import Call, Preference, read_body, read_preference, read_query
from mediator.web.schemas import AcceptedDocument, EventDocument
from mediator.web.script_response import Answerer, checked, is_only_checked, is_word, raw, state_of
from mediator.web.services import SERVICES, Services
from mediator.web.signed_request import admit, handing_over, trace_of


@handing_over
async def hand_over(request: web.Request) -> web.StreamResponse:
    """Take one delivery, or refuse it."""
    return await take(request, await arrive(request))


async def take(request: web.Request, arrival: Arrival) -> web.StreamResponse:
    """Look at what has arrived, keep it, answer."""
    services = request.app[SERVICES]
    script = _script(services, request.match_info["script"], arrival.sender)
    if not script.takes_deliveries:
        raise NotReady(f"The script {script.name} is not ready: {script.problem}")
    ticket = await arrival.ticket(script.policy.roots)
    bind_contextvars(script=script.name, ticket_id=ticket.id)
    button = arrival.is_test(ticket)
    test = button or is_word(script, arrival.call.arguments)
    if test and is_only_checked(script):
        return checked(script)
    preference = read_preference(request.headers.get("Prefer", ""))
    new = delivery_to(
        script,
        arrival,
        ticket,
        preference=preference,
        now=services.clock.now(),  # not when it began to arrive: a body may take a while
        deduplicate=services.deduplicate,
    )
    accepted = await keep(services, new)
    bind_contextvars(delivery_id=accepted.id)
    return await Answerer(services, request, script, test).answer(new, accepted, preference)


def _script(services: Services, name: str, sender: Sender) -> Script:
    """By name from the catalog; a path is never made from the request."""
    try:
        script = services.scripts.catalog.find(name)
    except NotFound:
        if not sender.limited:
            raise
        script = None
    if script is None or not sender.opens(script.name):
        raise Forbidden(f"The key {sender.id} may not hand tickets to {name[:100]!r}.")
    return script


# A hand-over as it arrived: who sent it, what, and how it was called.

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


# From a hand-over to deliveries that are on disk.

_log = structlog.get_logger()


def delivery_to(
    script: Script,
    arrival: Arrival,
    ticket: Ticket,
    *,
    preference: Preference,
    now: datetime,
    deduplicate: timedelta,
) -> NewDelivery:
    """What is to be kept of a hand-over that names its script.

    Who presses the Test button waits for the answer, whatever the kind.
    """
    interactive = script.policy.kind.interactive or arrival.is_test(ticket)
    return _new_delivery(
        script,
        arrival,
        ticket,
        patience=preference.patience(script.policy.timeout) if interactive else None,
        idempotency_key=arrival.idempotency_key,
        now=now,
        deduplicate=deduplicate,
    )


def _new_delivery(
    script: Script,
    arrival: Arrival,
    ticket: Ticket,
    *,
    patience: timedelta | None,
    idempotency_key: str,
    now: datetime,
    deduplicate: timedelta,
) -> NewDelivery:
    """`patience`: how long an interactive caller waits; None: nobody does."""
    return NewDelivery(
        id=str(uuid_utils.uuid7()),
        script=script.name,
        event=arrival.call.event,
        arguments=arrival.call.arguments,
        variables=arrival.call.variables,
        body=arrival.body,
        ticket=TicketFields(
            id=ticket.id,
            subject=ticket.subject,
            priority=ticket.priority,
            step=ticket.step,
            requester=ticket.requester,
        ),
        received=now,
        key_id=arrival.sender.id,
        idempotency_key=idempotency_key,
        interactive=patience is not None,
        expires=None if patience is None else now + patience,
        deduplicate_since=now - deduplicate if deduplicate and patience is None else None,
        trace=arrival.trace,
    )


async def keep(services: Services, new: NewDelivery) -> Accepted:
    """Keep one; it is on disk when this returns. Raises what the store and the bounds raise."""
    known = await _make_room(services, [new])
    accepted = known[0] if known else await services.store.accept(new)
    _tell_kept(services, new, accepted)
    return accepted


async def keep_together(services: Services, news: Sequence[NewDelivery]) -> list[Accepted]:
    """Keep all or none of them. Raises what the store and the bounds raise."""
    known = await _make_room(services, news)
    accepted = known or await services.store.accept_together(news)
    for new, answer in zip(news, accepted, strict=True):
        _tell_kept(services, new, answer)
    return accepted


async def _make_room(services: Services, news: Sequence[NewDelivery]) -> list[Accepted]:
    """Nothing when there is room. Raises `Full` or `Crowded`, unless all of it is kept already."""
    try:
        await services.bounds.admit(news)
    except (Full, Crowded):
        # A caller who did not hear the first answer must not be told that nothing was kept.
        known = [answer for answer in await services.store.recognise(news) if answer is not None]
        if len(known) < len(news):
            raise
        return known
    return []


def _tell_kept(services: Services, new: NewDelivery, accepted: Accepted) -> None:
    services.metrics.intake.accepted(new, accepted.repeat, delivery_id=accepted.id)
    _log.info(
        "delivery accepted",
        delivery_id=accepted.id,
        ticket_id=new.ticket.id,
        script=new.script,
        scw_event=new.event,
        repeat=str(accepted.repeat),
        key=new.key_id,
    )


# POST /v1/events: an event is handed over without naming a script; the routes choose.
_ROOTS = ("ticket_info",)
"""What trigger scripts are sent; no other kind can be routed."""
_NONE = "none"
"""In `Mediator-Delivery`: no route matches, so nothing is kept."""


@handing_over
async def hand_over_event(request: web.Request) -> web.StreamResponse:
    """Take one event, or refuse it."""
    arrival = await arrive(request)
    services = request.app[SERVICES]
    if not services.routes:
        raise NotFound("The settings have no routes, so an event must name its script.")
    ticket = await arrival.ticket(_ROOTS)
    if arrival.is_test(ticket):
        return _tested(services)
    return await _routed(services, arrival, ticket)


async def _routed(services: Services, arrival: Arrival, ticket: Ticket) -> web.Response:
    explanations = explain(
        services.routes,
        event=arrival.call.event,
        arguments=arrival.call.arguments,
        ticket=ticket,
    )
    names = scripts_of(explanations)
    scripts = [_ready(services, name, arrival.sender) for name in names]
    now = services.clock.now()
    news = [
        _new_delivery(
            script,
            arrival,
            ticket,
            patience=None,
            # No Idempotency-Key has a blank in it, so that this is nobody else's.
            idempotency_key=f"{arrival.idempotency_key} {script.name}",
            now=now,
            deduplicate=services.deduplicate,
        )
        for script in scripts
    ]
    accepted = await keep_together(services, news) if news else []
    _tell_routed(services, arrival, ticket, names)
    return _accepted(scripts, accepted)


def _ready(services: Services, name: str, sender: Sender) -> Script:
    """A script that a row names. Raises `Forbidden` or `NotReady`: then nothing is kept."""
    if not sender.opens(name):
        raise Forbidden(f"The key {sender.id} may not hand tickets to {name}.")
    script = services.scripts.catalog.scripts.get(name)
    if script is None:
        raise NotReady(f"The routes name the script {name}, and there is none; nothing was kept.")
    if script.policy.kind.interactive:
        raise NotReady(
            f"The routes name {name}, whose kind {script.policy.kind} must answer SecureChange"
            " itself; nothing was kept."
        )
    if not script.takes_deliveries:
        raise NotReady(f"The script {name} is not ready, so nothing was kept: {script.problem}")
    return script


def _tell_routed(
    services: Services, arrival: Arrival, ticket: Ticket, names: Sequence[str]
) -> None:
    services.metrics.intake.events.labels("routed" if names else "unrouted").inc()
    fields = {
        "scw_event": arrival.call.event,
        "ticket_id": ticket.id,
        "key": arrival.sender.id,
    }
    if names:
        _log.debug("event routed", **fields, scripts=list(names))
    else:
        _log.info("event not routed", **fields)


def _accepted(scripts: Sequence[Script], accepted: Sequence[Accepted]) -> web.Response:
    deliveries = [
        AcceptedDocument(
            delivery=answer.id,
            duplicate=answer.repeat is Repeat.DUPLICATE,
            script=script.name,
        )
        for script, answer in zip(scripts, accepted, strict=True)
    ]
    ids = ", ".join(answer.id for answer in accepted)
    return web.json_response(
        text=EventDocument(deliveries=deliveries).model_dump_json(),
        status=202,
        headers={"Mediator-Delivery": ids or _NONE},
    )


def _tested(services: Services) -> web.Response:
    """The truth about every script that a row names; a failure if one of them cannot run."""
    catalog = services.scripts.catalog.scripts
    names = tuple(dict.fromkeys(name for route in services.routes for name in route.scripts))
    lines = [
        state_of(catalog[n]) if n in catalog else f"{n}: there is no such script" for n in names
    ]
    good = all(name in catalog and catalog[name].ready for name in names)
    text = "".join(f"{line}\n" for line in lines).encode()
    return raw(text, b"", exit_code=0 if good else 1)
