"""The page of one delivery, what can be done with it, and its ticket and outputs as files."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Mapping
from dataclasses import fields

from aiohttp import web

from mediator.errors import Forbidden, NotATicket, NotFound
from mediator.model.deliveries import Delivery, State, TicketFields
from mediator.model.kinds import ANY, EMPTY
from mediator.model.tickets import read_ticket
from mediator.web import operator
from mediator.web.console.attempts import shown
from mediator.web.console.charts import timeline
from mediator.web.console.guarding import ROOT, SESSION, redirect
from mediator.web.console.pages import page, pulse_of
from mediator.web.following import Following
from mediator.web.outputs import attempt_of, number_of, output_document
from mediator.web.services import SERVICES, Services
from mediator.web.streams import stream

MOST_XML = 64 * 1024
"""Bytes of a ticket that are on its page; a link leads to the whole."""
_LARGEST_READ = 2**20
"""Bytes of a ticket that is looked into for more than was remembered of it."""
_WIDTH, _HEIGHT = 720.0, 16.0
_TOLD = {
    "retried": "It is due again now, with all its attempts.",
    "cancelled": "It is cancelled.",
    "stopping": "Its script is being stopped.",
}
_FILE = "default-src 'none'; sandbox"
"""Content-Security-Policy of a file: whatever shows it, nothing in it runs."""


async def show_delivery(request: web.Request) -> web.Response:
    """Everything about one delivery."""
    services, pulse = request.app[SERVICES], await pulse_of(request)
    delivery = await services.store.find(request.match_info["id"])
    body = await services.store.body(delivery.id)
    now = services.clock.now()
    return await page(
        request,
        "delivery",
        pulse=pulse,
        delivery=delivery,
        arguments=[_text(argument) for argument in delivery.arguments],
        variables={name: _text(value) for name, value in sorted(delivery.variables.items())},
        ticket=await asyncio.to_thread(_fields, delivery, body),
        xml=_decoded(body[:MOST_XML]),
        xml_size=len(body),
        xml_cut=len(body) > MOST_XML,
        attempts=shown(delivery, services.live, now=now),
        rectangles=timeline(
            delivery.attempts, begin=delivery.received, now=now, width=_WIDTH, height=_HEIGHT
        ),
        width=_WIDTH,
        height=_HEIGHT,
        told=_TOLD.get(request.query.get("told", ""), ""),
        known=delivery.script in services.scripts.catalog.scripts,
    )


async def retry(request: web.Request) -> web.Response:
    """Make it due now, and show it."""
    _require_operator(request)
    delivery = await operator.retry(request, request[SESSION].holder)
    return redirect(f"{ROOT}/deliveries/{delivery.id}?told=retried")


async def cancel(request: web.Request) -> web.Response:
    """End it or have it stopped, and show it."""
    _require_operator(request)
    delivery = await operator.cancel(request, request[SESSION].holder)
    told = "cancelled" if delivery.state is State.CANCELLED else "stopping"
    return redirect(f"{ROOT}/deliveries/{delivery.id}?told={told}")


async def follow_output(request: web.Request) -> web.StreamResponse:
    """Server-sent events of its attempts from `attempt` on, as `/v1/deliveries/ID/output` has."""
    services = request.app[SERVICES]
    delivery = await services.store.find(request.match_info["id"])
    first = number_of(request) or 1
    return await stream(request, Following(services, delivery.id, first=first).events())


async def download_ticket(request: web.Request) -> web.Response:
    """The ticket as it was handed over, byte for byte, as a file."""
    store = request.app[SERVICES].store
    delivery = await store.find(request.match_info["id"])
    body = await store.body(delivery.id)
    return _file(body, f"ticket-{delivery.id}.xml", "application/xml")


async def download_output(request: web.Request) -> web.Response:
    """What is kept of one stream of one attempt, as a file."""
    services: Services = request.app[SERVICES]
    delivery = await services.store.find(request.match_info["id"])
    number, name = int(request.match_info["number"]), request.match_info["stream"]
    attempt = attempt_of(delivery, number)
    if attempt is None:
        raise NotFound(f"delivery {delivery.id} has no attempt {number}.")
    written = output_document(delivery, attempt, services.live.find(delivery.id, number))
    text = written.stdout if name == "stdout" else written.stderr
    return _file(text.encode(), f"{name}-{number}-{delivery.id}.txt", "text/plain; charset=utf-8")


def _require_operator(request: web.Request) -> None:
    session = request[SESSION]
    if not session.may_operate:
        raise Forbidden(
            f"You are signed in as {session.holder.name}, who may only look;"
            " this needs a token with the role operator."
        )


def _file(body: bytes, name: str, content_type: str) -> web.Response:
    return web.Response(
        body=body,
        headers={
            "Content-Type": content_type,
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": _FILE,
        },
    )


def _fields(delivery: Delivery, body: bytes) -> Mapping[str, object]:
    """What is known of the ticket: what was remembered, and more where its XML can be read."""
    known = {field.name: getattr(delivery.ticket, field.name) for field in fields(TicketFields)}
    if len(body) <= _LARGEST_READ:
        try:
            ticket = read_ticket(body, roots=(ANY, EMPTY))
        except NotATicket:
            return known
        more = ("step_id", "requester_name", "first_step", "comment", "created", "updated")
        known |= {name: getattr(ticket, name) for name in more}
    return known


def _decoded(body: bytes) -> str:
    """As UTF-8 unless it says by a mark that it is UTF-16; what is neither is replaced."""
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return body.decode("utf-16" if body.startswith(marks) else "utf-8", "replace")


def _text(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
