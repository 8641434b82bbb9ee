"""POST /v1/events: an event is handed over without naming a script; the routes choose.

One shim registered for every event of every workflow is then enough. All deliveries of an event
are committed together, or none is.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from aiohttp import web

from mediator.catalog.scripts import Script
from mediator.errors import Forbidden, NotFound, NotReady
from mediator.model.deliveries import Accepted, Repeat
from mediator.model.routing import explain, scripts_of
from mediator.model.tickets import Ticket
from mediator.web.admission import handing_over
from mediator.web.answers import raw
from mediator.web.arriving import Arrival, Sender, arrive
from mediator.web.documents import AcceptedDocument, EventDocument
from mediator.web.keeping import keep_together, new_delivery
from mediator.web.services import SERVICES, Services
from mediator.web.trying import state_of

_log = structlog.get_logger()
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
    news = [
        new_delivery(
            services,
            arrival,
            script,
            ticket=ticket,
            patience=None,
            # No Idempotency-Key has a blank in it, so that this is nobody else's.
            idempotency_key=f"{arrival.idempotency_key} {script.name}",
        )
        for script in scripts
    ]
    accepted = await keep_together(services, news) if news else []
    _tell(services, arrival, ticket, names)
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


def _tell(services: Services, arrival: Arrival, ticket: Ticket, names: Sequence[str]) -> None:
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
