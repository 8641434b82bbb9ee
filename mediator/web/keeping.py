"""From a hand-over to deliveries that are on disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
import uuid_utils

from mediator.catalog.scripts import Script
from mediator.errors import Crowded, Full
from mediator.model.deliveries import Accepted, NewDelivery, TicketFields
from mediator.model.tickets import Ticket
from mediator.web.arriving import Arrival
from mediator.web.services import Services

_log = structlog.get_logger()


def new_delivery(
    services: Services,
    arrival: Arrival,
    script: Script,
    *,
    ticket: Ticket,
    patience: timedelta | None,
    idempotency_key: str,
) -> NewDelivery:
    """What is to be kept. `patience`: how long an interactive caller waits; None: nobody does."""
    now = services.clock.now()  # not when it began to arrive: a body may take a while
    window = services.deduplicate
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
        deduplicate_since=now - window if window and patience is None else None,
        trace=arrival.trace,
    )


async def keep(services: Services, new: NewDelivery) -> Accepted:
    """Keep one; it is on disk when this returns. Raises what the store and the bounds raise."""
    known = await _make_room(services, [new])
    accepted = known[0] if known else await services.store.accept(new)
    _tell(services, new, accepted)
    return accepted


async def keep_together(services: Services, news: Sequence[NewDelivery]) -> list[Accepted]:
    """Keep all or none of them. Raises what the store and the bounds raise."""
    known = await _make_room(services, news)
    accepted = known or await services.store.accept_together(news)
    for new, answer in zip(news, accepted, strict=True):
        _tell(services, new, answer)
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


def _tell(services: Services, new: NewDelivery, accepted: Accepted) -> None:
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
