"""The routing table, and which of its rows an event would match."""

from __future__ import annotations

from aiohttp import web

from mediator.model.routing import Explanation, explain, scripts_of
from mediator.model.tickets import Ticket
from mediator.web.console.listing import EVENTS
from mediator.web.console.pages import page
from mediator.web.services import SERVICES

_ASKED = ("event", "workflow", "step", "priority", "subject")


async def show_routes(request: web.Request) -> web.Response:
    """The rows of `routes` in the settings, held against an event when one is asked about."""
    services = request.app[SERVICES]
    asked = {name: request.query.get(name, "").strip() for name in _ASKED}
    explained: list[Explanation] = []
    if asked["event"]:
        ticket = Ticket(
            step=asked["step"] or None,
            priority=asked["priority"] or None,
            subject=asked["subject"] or None,
        )
        arguments = (asked["workflow"],) if asked["workflow"] else ()
        explained = explain(
            services.routes, event=asked["event"], arguments=arguments, ticket=ticket
        )
    return await page(
        request,
        "routes",
        routes=services.routes,
        asked=asked,
        explained=explained,
        goes_to=scripts_of(explained),
        events=EVENTS,
        scripts=services.scripts.catalog.scripts,
    )
