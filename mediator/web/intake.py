"""POST /v1/scripts/{script}/deliveries: a ticket is handed over.

Nothing is answered with success before the store has committed it.
"""

from __future__ import annotations

from aiohttp import web
from structlog.contextvars import bind_contextvars

from mediator.catalog.scripts import Script
from mediator.errors import Forbidden, NotFound, NotReady
from mediator.web.admission import handing_over
from mediator.web.answers import Answerer
from mediator.web.arriving import Arrival, Sender, arrive
from mediator.web.handover import read_preference
from mediator.web.keeping import keep, new_delivery
from mediator.web.services import SERVICES, Services
from mediator.web.trying import checked, is_only_checked, is_word


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
    interactive = script.policy.kind.interactive or button
    new = new_delivery(
        services,
        arrival,
        script,
        ticket=ticket,
        patience=preference.patience(script.policy.timeout) if interactive else None,
        idempotency_key=arrival.idempotency_key,
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
