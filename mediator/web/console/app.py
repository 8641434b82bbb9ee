"""The routes of the console, an application of its own below `/console`."""

from __future__ import annotations

from aiohttp import web

from mediator.web import signed_request
from mediator.web.console import rendering, scripts, sign_in, views
from mediator.web.console.auth import ROOT, Throttle, add_headers, guard, redirect
from mediator.web.console.charts import THROUGHPUT, Throughput
from mediator.web.console.rendering import CHANGES, ChangeFeed, follow_changes, show_asset
from mediator.web.middleware import Handler
from mediator.web.services import SERVICES, Services

_DELIVERY = "/deliveries/{id}"
_PAGES: dict[str, Handler] = {
    "": views.show_overview,
    "/": views.lead_to_overview,
    "/deliveries": views.show_deliveries,
    _DELIVERY: views.show_delivery,
    f"{_DELIVERY}/ticket.xml": views.download_ticket,
    f"{_DELIVERY}/attempts/{{number:[1-9][0-9]{{0,8}}}}/{{stream:stdout|stderr}}.txt": (
        views.download_output
    ),
    "/scripts": scripts.show_scripts,
    "/scripts/{name}": scripts.show_script,
    "/routes": scripts.show_routes,
    "/sign-in": sign_in.show_sign_in,
    "/static/{name}": show_asset,
}
_STREAMS: dict[str, Handler] = {
    "/changes": follow_changes,
    f"{_DELIVERY}/output": views.follow_output,
}
_FORMS: dict[str, Handler] = {
    f"{_DELIVERY}/retry": views.retry,
    f"{_DELIVERY}/cancel": views.cancel,
    "/sign-in": sign_in.sign_in,
    "/sign-out": sign_in.sign_out,
}


def add_console(app: web.Application, services: Services) -> None:
    """Put the console below `/console`; a browser that asks for nothing else is led there."""
    app.add_subapp(ROOT, make_console(services))
    app.router.add_get("/", _lead_there, expect_handler=signed_request.no_body)


def make_console(services: Services) -> web.Application:
    """The console alone, with paths as below `/console`."""
    app = web.Application(middlewares=[rendering.errors_as_pages, guard])
    app[SERVICES] = services
    app[CHANGES] = ChangeFeed(services)
    app[THROUGHPUT] = Throughput(services.store, services.clock)
    app[sign_in.THROTTLE] = Throttle()
    app.on_response_prepare.append(add_headers)
    rendering.set_up(app)
    for path, handler in _PAGES.items():
        app.router.add_get(path, handler, expect_handler=signed_request.no_body)
    for path, handler in _STREAMS.items():
        app.router.add_get(path, handler, expect_handler=signed_request.no_body, allow_head=False)
    for path, handler in _FORMS.items():
        app.router.add_post(path, handler, expect_handler=signed_request.no_body)
    return app


async def _lead_there(request: web.Request) -> web.Response:
    """A program hears what it always heard: there is nothing here."""
    if "text/html" not in request.headers.get("Accept", ""):
        raise web.HTTPNotFound
    return redirect(ROOT)
