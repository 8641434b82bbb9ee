"""POST /v1/scripts/{script}/deliveries: a ticket is handed over.

The order of the checks is the order of their cost and of what they give away: the announced
length, who it is (before the body is read), the body, then the script and the ticket. Nothing is
answered with success before the store has committed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
import uuid_utils
from aiohttp import web

from mediator.catalog.scripts import Script
from mediator.errors import Forbidden, MediatorError, NotFound, NotReady
from mediator.model.deliveries import Accepted, NewDelivery, TicketFields
from mediator.model.policies import Policy
from mediator.model.signatures import Verified, check_body
from mediator.model.tickets import Ticket, read_ticket
from mediator.web.admission import admit, tell_refused
from mediator.web.answers import Answerer
from mediator.web.handover import Call, Preference, read_body, read_preference, read_query
from mediator.web.services import SERVICES, Services

_log = structlog.get_logger()

T = TypeVar("T")
TEST = "TEST"
"""The event of SecureChange's Test button."""
_TEST_ROOT = "ticket_info"
_QUICK = 65536
"""Bytes; a larger ticket is hashed and read in a thread, so that others are answered meanwhile."""


async def hand_over(request: web.Request) -> web.StreamResponse:
    """Take one delivery, or refuse it and tell why."""
    try:
        return await _Intake(request.app[SERVICES], request).take()
    except MediatorError as error:
        tell_refused(request, error)
        raise


@dataclass(frozen=True, slots=True)
class _Intake:
    services: Services
    request: web.Request

    async def take(self) -> web.StreamResponse:
        """Check, keep, answer."""
        services, request = self.services, self.request
        verified = admit(request)
        body = await read_body(request, services.body_limit, seconds=services.body_seconds)
        await _in_thread_if_large(body, lambda: check_body(verified.digest, body))
        script = self._script(verified)
        if not script.takes_deliveries:
            raise NotReady(f"The script {script.name} is not ready: {script.problem}")
        policy = script.policy
        call = read_query(request.rel_url.raw_query_string)
        ticket = await _read(body, policy, call)
        preference = read_preference(request.headers.get("Prefer", ""))
        new = self._delivery(
            verified, body, script, call=call, ticket=ticket, preference=preference
        )
        accepted = await self._keep(new)
        return await Answerer(services, request, policy).answer(new, accepted, preference)

    def _script(self, verified: Verified) -> Script:
        """By name from the catalog; a path is never made from the request."""
        name = self.request.match_info["script"]
        key = verified.key
        try:
            script = self.services.scripts.catalog.find(name)
        except NotFound:
            if key.scripts is None:
                raise
            script = None
        if script is None or not key.opens(script.name):
            raise Forbidden(f"The key {key.id} may not hand tickets to {name[:100]!r}.")
        return script

    def _delivery(
        self,
        verified: Verified,
        body: bytes,
        script: Script,
        *,
        call: Call,
        ticket: Ticket,
        preference: Preference,
    ) -> NewDelivery:
        now = self.services.clock.now()  # not when it began to arrive: a body may take a while
        interactive = script.policy.kind.interactive or _is_test(call, ticket)
        patience = preference.patience(script.policy.timeout)
        window = self.services.deduplicate
        return NewDelivery(
            id=str(uuid_utils.uuid7()),
            script=script.name,
            event=call.event,
            arguments=call.arguments,
            variables=call.variables,
            body=body,
            ticket=TicketFields(
                id=ticket.id,
                subject=ticket.subject,
                priority=ticket.priority,
                step=ticket.step,
                requester=ticket.requester,
            ),
            received=now,
            key_id=verified.key.id,
            idempotency_key=verified.idempotency_key,
            interactive=interactive,
            expires=now + patience if interactive else None,
            deduplicate_since=now - window if window and not interactive else None,
        )

    async def _keep(self, new: NewDelivery) -> Accepted:
        accepted = await self.services.store.accept(new)
        self.services.metrics.accepted.labels(new.script, accepted.repeat).inc()
        _log.info(
            "delivery accepted",
            delivery_id=accepted.id,
            ticket_id=new.ticket.id,
            script=new.script,
            scw_event=new.event,
            repeat=str(accepted.repeat),
            key=new.key_id,
        )
        return accepted


def _is_test(call: Call, ticket: Ticket) -> bool:
    return call.event == TEST or (not call.event and ticket.is_test_button)


async def _read(body: bytes, policy: Policy, call: Call) -> Ticket:
    """The ticket, looked at. The Test button sends `<ticket_info/>` whatever the kind."""
    roots = (*policy.roots, _TEST_ROOT) if call.event == TEST else policy.roots
    return await _in_thread_if_large(body, lambda: read_ticket(body, roots=roots))


async def _in_thread_if_large(body: bytes, work: Callable[[], T]) -> T:
    return work() if len(body) <= _QUICK else await asyncio.to_thread(work)
