"""The routes of the console, an application of its own below `/console`."""

from __future__ import annotations

from aiohttp import web

from mediator.web import admission
from mediator.web.console import (
    delivery,
    listing,
    overview,
    pages,
    routes,
    scripts,
    signing_in,
)
from mediator.web.console.assets import show_asset
from mediator.web.console.changes import CHANGES, Changes, follow_changes
from mediator.web.console.guarding import ROOT, add_headers, guard, redirect
from mediator.web.console.throttle import Throttle
from mediator.web.console.throughput import THROUGHPUT, Throughput
from mediator.web.problems import Handler
from mediator.web.services import SERVICES, Services

_DELIVERY = "/deliveries/{id}"
_PAGES: dict[str, Handler] = {
    "": overview.show_overview,
    "/": overview.lead_to_overview,
    "/deliveries": listing.show_deliveries,
    _DELIVERY: delivery.show_delivery,
    f"{_DELIVERY}/ticket.xml": delivery.download_ticket,
    f"{_DELIVERY}/attempts/{{number:[1-9][0-9]{{0,8}}}}/{{stream:stdout|stderr}}.txt": (
        delivery.download_output
    ),
    "/scripts": scripts.show_scripts,
    "/scripts/{name}": scripts.show_script,
    "/routes": routes.show_routes,
    "/sign-in": signing_in.show_sign_in,
    "/static/{name}": show_asset,
}
_STREAMS: dict[str, Handler] = {
    "/changes": follow_changes,
    f"{_DELIVERY}/output": delivery.follow_output,
}
_FORMS: dict[str, Handler] = {
    f"{_DELIVERY}/retry": delivery.retry,
    f"{_DELIVERY}/cancel": delivery.cancel,
    "/sign-in": signing_in.sign_in,
    "/sign-out": signing_in.sign_out,
}


def add_console(app: web.Application, services: Services) -> None:
    """Put the console below `/console`; a browser that asks for nothing else is led there."""
    app.add_subapp(ROOT, make_console(services))
    app.router.add_get("/", _lead_there, expect_handler=admission.no_body)


def make_console(services: Services) -> web.Application:
    """The console alone, with paths as below `/console`."""
    app = web.Application(middlewares=[pages.errors_as_pages, guard])
    app[SERVICES] = services
    app[CHANGES] = Changes(services)
    app[THROUGHPUT] = Throughput(services.store, services.clock)
    app[signing_in.THROTTLE] = Throttle()
    app.on_response_prepare.append(add_headers)
    pages.set_up(app)
    for path, handler in _PAGES.items():
        app.router.add_get(path, handler, expect_handler=admission.no_body)
    for path, handler in _STREAMS.items():
        app.router.add_get(path, handler, expect_handler=admission.no_body, allow_head=False)
    for path, handler in _FORMS.items():
        app.router.add_post(path, handler, expect_handler=admission.no_body)
    return app


async def _lead_there(request: web.Request) -> web.Response:
    """A program hears what it always heard: there is nothing here."""
    if "text/html" not in request.headers.get("Accept", ""):
        raise web.HTTPNotFound
    return redirect(ROOT)
