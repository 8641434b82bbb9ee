"""A hand-over on its way from its request into the store, for one script or by the routes.

Nothing is answered with success before the store has committed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
import uuid_utils
from aiohttp import web
from structlog.contextvars import bind_contextvars

from mediator.catalog.script import Script
from mediator.errors import Crowded, Forbidden, Full, NotFound, NotReady
from mediator.model.delivery import Accepted, NewDelivery, Repeat, TicketFields
from mediator.model.routing import explain, scripts_of
from mediator.model.ticket import Ticket
from mediator.web.middleware import handing_over
from mediator.web.openapi import Answers, Operation, parameter, refused
from mediator.web.request import HandOver, Preference, Sender, read_preference
from mediator.web.schemas import AcceptedDocument, EventDocument
from mediator.web.script_response import (
    Answerer,
    checked,
    is_only_checked,
    is_test_word,
    raw,
    state_of,
)
from mediator.web.services import SERVICES, Services
from mediator.web.signed_request import read_signed

_log = structlog.get_logger()
_CALL = (
    parameter("SCW_EVENT", "query", "The event; every SCW_* variable is passed on."),
    {
        **parameter("arg", "query", "Arguments of the script, in order."),
        "schema": {"type": "array", "items": {"type": "string"}},
    },
)
PARAMETERS = (
    parameter("script", "path", "File name of the script, or its name without suffix."),
    *_CALL,
    parameter("Prefer", "header", "`respond-async`, or `wait=SECONDS` (RFC 7240)."),
)
_REFUSED = refused(400, 401, 403, 404, 408, 409, 413, 417, 422, 429, 500, 502, 503, 504)
ANSWERS: Answers = {
    200: "The script has ended; the body is its stdout, then its stderr.",
    202: AcceptedDocument,
    **_REFUSED,
}


@Operation(
    name="handOver",
    summary="Hand over a ticket for a script; signed by RFC 9421.",
    parameters=PARAMETERS,
    body={"application/xml": "string"},
    answers=ANSWERS,
    security="signature",
)
@handing_over
async def hand_over(request: web.Request) -> web.StreamResponse:
    """Take one delivery, or refuse it."""
    return await take(request, await read_signed(request))


async def take(request: web.Request, hand_over: HandOver) -> web.StreamResponse:
    """Judge what has arrived, keep it, answer."""
    services, call = request.app[SERVICES], hand_over.call
    script = _script(services, request.match_info["script"], hand_over.sender)
    ticket = await hand_over.ticket(script.policy.roots)
    bind_contextvars(script=script.name, ticket_id=ticket.id)
    test = call.is_test(ticket) or is_test_word(script, call.arguments)
    if test and is_only_checked(script):
        return checked(script)
    preference = read_preference(request.headers.get("Prefer", ""))
    new = delivery_to(
        script,
        hand_over,
        ticket,
        preference=preference,
        now=services.clock.now(),  # not when it began to arrive: a body may take a while
        deduplicate=services.deduplicate,
    )
    accepted = await _keep(services, new)
    bind_contextvars(delivery_id=accepted.id)
    return await Answerer(services, request, script, test).answer(new, accepted, preference)


def _script(services: Services, name: str, sender: Sender) -> Script:
    """By name from the catalog, ready; a path is never made from the request."""
    try:
        script = services.scripts.catalog.find(name)
    except NotFound:
        if not sender.limited:
            raise
        script = None
    if script is None or not sender.opens(script.name):
        raise Forbidden(f"The key {sender.id} may not hand tickets to {name[:100]!r}.")
    if not script.takes_deliveries:
        raise NotReady(f"The script {script.name} is not ready: {script.problem}")
    return script


def delivery_to(
    script: Script,
    hand_over: HandOver,
    ticket: Ticket,
    *,
    preference: Preference,
    now: datetime,
    deduplicate: timedelta,
) -> NewDelivery:
    """What is to be kept of a hand-over that names its script.

    Who presses the Test button waits for the answer, whatever the kind. `deduplicate`: how far back
    the same content is the same delivery, where nobody waits.
    """
    interactive = script.policy.kind.interactive or hand_over.call.is_test(ticket)
    patience = preference.patience(script.policy.timeout) if interactive else None
    return _new_delivery(
        script, hand_over, ticket, patience=patience, now=now, deduplicate=deduplicate
    )


def _new_delivery(
    script: Script,
    hand_over: HandOver,
    ticket: Ticket,
    *,
    patience: timedelta | None,
    now: datetime,
    deduplicate: timedelta,
) -> NewDelivery:
    """`patience`: how long somebody waits for the answer; None: nobody does."""
    return NewDelivery(
        id=str(uuid_utils.uuid7()),
        script=script.name,
        event=hand_over.call.event,
        arguments=hand_over.call.arguments,
        variables=hand_over.call.variables,
        body=hand_over.body,
        ticket=TicketFields(
            id=ticket.id,
            subject=ticket.subject,
            priority=ticket.priority,
            step=ticket.step,
            requester=ticket.requester,
        ),
        received=now,
        key_id=hand_over.sender.id,
        idempotency_key=hand_over.idempotency_key,
        interactive=patience is not None,
        expires=None if patience is None else now + patience,
        deduplicate_since=now - deduplicate if deduplicate and patience is None else None,
        trace=hand_over.trace,
    )


async def _keep(services: Services, new: NewDelivery) -> Accepted:
    """Keep one; it is on disk when this returns. Raises what store and back-pressure raise."""
    known = await _make_room(services, [new])
    accepted = known[0] if known else await services.store.accept(new)
    _tell_kept(services, new, accepted)
    return accepted


async def _keep_together(services: Services, news: Sequence[NewDelivery]) -> list[Accepted]:
    """Keep all or none of them. Raises what store and back-pressure raise."""
    if not news:
        return []
    known = await _make_room(services, news)
    accepted = known or await services.store.accept_together(news)
    for new, answer in zip(news, accepted, strict=True):
        _tell_kept(services, new, answer)
    return accepted


async def _make_room(services: Services, news: Sequence[NewDelivery]) -> list[Accepted]:
    """Nothing when there is room. Raises `Full` or `Crowded`, unless all of it is kept already."""
    try:
        await services.backpressure.admit(news)
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


# An event that names no script: the routes choose, and what they choose is kept together.

_ROOTS = ("ticket_info",)
"""What trigger scripts are sent; no other kind can be routed."""
_NONE = "none"
"""In `Mediator-Delivery`: no route matches, so nothing is kept."""


@Operation(
    name="handOverEvent",
    summary="Hand over an event; the routes choose the scripts. Signed by RFC 9421.",
    parameters=_CALL,
    body={"application/xml": "string"},
    answers={
        200: "The Test button: the state of every script that a route names.",
        202: EventDocument,
        **_REFUSED,
    },
    security="signature",
)
@handing_over
async def hand_over_event(request: web.Request) -> web.StreamResponse:
    """Take one event, or refuse it."""
    hand_over, services = await read_signed(request), request.app[SERVICES]
    if not services.routes:
        raise NotFound("The settings have no routes, so an event must name its script.")
    ticket = await hand_over.ticket(_ROOTS)
    if hand_over.call.is_test(ticket):
        return _tested(services)
    scripts = _routed_scripts(services, hand_over, ticket)
    accepted = await _keep_together(services, _news(services, hand_over, ticket, scripts))
    _tell_routed(services, hand_over, ticket, [script.name for script in scripts])
    return _accepted(scripts, accepted)


def _routed_scripts(services: Services, hand_over: HandOver, ticket: Ticket) -> list[Script]:
    call = hand_over.call
    explained = explain(services.routes, event=call.event, arguments=call.arguments, ticket=ticket)
    return [_routed(services, name, hand_over.sender) for name in scripts_of(explained)]


def _news(
    services: Services, hand_over: HandOver, ticket: Ticket, scripts: Sequence[Script]
) -> list[NewDelivery]:
    now = services.clock.now()
    return [
        _new_delivery(
            script,
            # No Idempotency-Key has a blank in it, so that this is nobody else's.
            replace(hand_over, idempotency_key=f"{hand_over.idempotency_key} {script.name}"),
            ticket,
            patience=None,
            now=now,
            deduplicate=services.deduplicate,
        )
        for script in scripts
    ]


def _routed(services: Services, name: str, sender: Sender) -> Script:
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
    services: Services, hand_over: HandOver, ticket: Ticket, names: Sequence[str]
) -> None:
    services.metrics.intake.events.labels("routed" if names else "unrouted").inc()
    fields = {
        "scw_event": hand_over.call.event,
        "ticket_id": ticket.id,
        "key": hand_over.sender.id,
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
