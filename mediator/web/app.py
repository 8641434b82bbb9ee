"""The routes, and the two applications: the API, and health on a port of its own if wanted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from aiohttp import web

from mediator.web import health, intake, middleware, migration, operator_api, signed_request
from mediator.web.console.app import add_console
from mediator.web.middleware import Handler
from mediator.web.openapi import Json, Operation, describe
from mediator.web.services import SERVICES, Services
from mediator.web.signed_request import before_body, no_body


def make_api(
    services: Services, *, with_health: bool, with_console: bool = False
) -> web.Application:
    """The application that shims and operators talk to."""
    app = _application(services, _API)
    if with_health:
        app.add_routes(_HEALTH)
    if with_console:
        add_console(app, services)
    return app


def make_health(services: Services) -> web.Application:
    """The application for probes and Prometheus, where `http.metrics_port` is set."""
    return _application(services, (_LIVEZ, *_HEALTH))


def _application(services: Services, routes: Iterable[web.RouteDef]) -> web.Application:
    # Bodies are read and bounded by intake itself; no other handler reads one.
    app = web.Application(
        middlewares=[middleware.identified, middleware.leaving, middleware.problems]
    )
    app.on_response_prepare.append(middleware.add_request_id)
    app[SERVICES] = services
    app[health.SCRAPE] = health.Scrape(services)
    app.add_routes(routes)
    return app


@cache
def description() -> Json:
    """The OpenAPI description of every route."""
    return describe((*_API, *_HEALTH))


@Operation(
    name="describe",
    summary="This description.",
    answers={200: "An OpenAPI 3.1 document."},
)
async def show_description(request: web.Request) -> web.Response:
    """The OpenAPI description."""
    del request
    return web.json_response(description())


def _get(path: str, handler: Handler) -> web.RouteDef:
    """HEAD is answered too, as RFC 9110 wants: GET without its body."""
    return web.get(path, handler, expect_handler=no_body)


def _post(path: str, handler: Handler) -> web.RouteDef:
    return web.post(path, handler, expect_handler=no_body)


def _intake(path: str, handler: Handler) -> web.RouteDef:
    return web.post(path, handler, expect_handler=before_body)


# The shim's self-test asks for this one on the API's own address, and for /v1/key.
_LIVEZ = _get("/livez", health.livez)
_HEALTH = (
    _get("/readyz", health.readyz),
    _get("/metrics", health.metrics),
)
_API = (
    _intake("/v1/scripts/{script}/deliveries", intake.hand_over),
    _intake("/v1/events", intake.hand_over_event),
    _post("/v1/migration/{script}", migration.migrate),
    _get("/v1/deliveries", operator_api.list_deliveries),
    _get("/v1/deliveries/{id}", operator_api.show_delivery),
    _get("/v1/deliveries/{id}/output", operator_api.show_output),
    _post("/v1/deliveries/{id}/retry", operator_api.retry_delivery),
    _post("/v1/deliveries/{id}/cancel", operator_api.cancel_delivery),
    _get("/v1/scripts", operator_api.list_scripts),
    _get("/v1/scripts/{name}", operator_api.show_script),
    _get("/v1/status", operator_api.show_status),
    _get("/v1/key", signed_request.show_key),
    _get("/v1/openapi.json", show_description),
    _LIVEZ,
)
