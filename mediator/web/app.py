"""The routes, and the two applications: the API, and health on a port of its own if wanted."""

from __future__ import annotations

from aiohttp import web

from mediator.web import health, intake, middleware, migration, operator_api, signed_request
from mediator.web.console.app import add_console
from mediator.web.health import Scrape
from mediator.web.middleware import Handler, problems
from mediator.web.schemas import openapi
from mediator.web.services import SERVICES, Services
from mediator.web.signed_request import timed


def make_api(
    services: Services, *, with_health: bool, with_console: bool = False
) -> web.Application:
    """The application that shims and operators talk to."""
    app = _application(services)
    _intake(app, "/v1/scripts/{script}/deliveries", intake.hand_over)
    _intake(app, "/v1/events", intake.hand_over_event)
    _post(app, "/v1/migration/{script}", timed(migration.migrate))
    _get(app, "/v1/deliveries", operator_api.list_deliveries)
    _get(app, "/v1/deliveries/{id}", operator_api.show_delivery)
    _get(app, "/v1/deliveries/{id}/output", operator_api.show_output)
    _post(app, "/v1/deliveries/{id}/retry", operator_api.retry_delivery)
    _post(app, "/v1/deliveries/{id}/cancel", operator_api.cancel_delivery)
    _get(app, "/v1/scripts", operator_api.list_scripts)
    _get(app, "/v1/scripts/{name}", operator_api.show_script)
    _get(app, "/v1/status", operator_api.show_status)
    _get(app, "/v1/key", signed_request.show_key)
    _get(app, "/v1/openapi.json", openapi)
    app.cleanup_ctx.append(operator_api.keeping)
    # The shim's self-test asks for this one on the API's own address, and for /v1/key.
    _get(app, "/livez", health.livez)
    if with_health:
        _add_health(app, services)
    if with_console:
        add_console(app, services)
    return app


def make_health(services: Services) -> web.Application:
    """The application for probes and Prometheus, where `http.metrics_port` is set."""
    app = _application(services)
    _get(app, "/livez", health.livez)
    _add_health(app, services)
    return app


@web.middleware
async def leaving(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep no connection open for a next request that would find nobody any more."""
    response = await handler(request)
    if request.app[SERVICES].draining:
        response.force_close()
    return response


def _application(services: Services) -> web.Application:
    # Bodies are read and bounded by intake itself; no other handler reads one.
    app = web.Application(middlewares=[middleware.identified, leaving, problems])
    app.on_response_prepare.append(middleware.tell)
    app[SERVICES] = services
    return app


def _add_health(app: web.Application, services: Services) -> None:
    _get(app, "/readyz", health.readyz)
    _get(app, "/metrics", Scrape(services).metrics)


def _get(app: web.Application, path: str, handler: Handler) -> None:
    """HEAD is answered too, as RFC 9110 wants: GET without its body."""
    app.router.add_get(path, handler, expect_handler=signed_request.no_body)


def _intake(app: web.Application, path: str, handler: Handler) -> None:
    app.router.add_post(path, timed(handler), expect_handler=signed_request.before_body)


def _post(app: web.Application, path: str, handler: Handler) -> None:
    app.router.add_post(path, handler, expect_handler=signed_request.no_body)
