"""The routes, and the two applications: the API, and health on a port of its own if wanted."""

from __future__ import annotations

from aiohttp import web

from mediator.web import health, intake, operator
from mediator.web.openapi import openapi
from mediator.web.problems import problems
from mediator.web.services import SERVICES, Services


def make_api(services: Services, *, with_health: bool) -> web.Application:
    """The application that shims and operators talk to."""
    app = _application(services)
    app.router.add_post(
        "/v1/scripts/{script}/deliveries", intake.hand_over, expect_handler=intake.expect
    )
    app.router.add_get("/v1/deliveries", operator.list_deliveries, allow_head=False)
    app.router.add_get("/v1/deliveries/{id}", operator.show_delivery, allow_head=False)
    app.router.add_post("/v1/deliveries/{id}/retry", operator.retry_delivery)
    app.router.add_post("/v1/deliveries/{id}/cancel", operator.cancel_delivery)
    app.router.add_get("/v1/scripts", operator.list_scripts, allow_head=False)
    app.router.add_get("/v1/scripts/{name}", operator.show_script, allow_head=False)
    app.router.add_get("/v1/openapi.json", openapi, allow_head=False)
    # The shim's self-test asks for this one on the API's own address.
    app.router.add_get("/livez", health.livez)
    if with_health:
        _add_health(app)
    return app


def make_health(services: Services) -> web.Application:
    """The application for probes and Prometheus, where `http.metrics_port` is set."""
    app = _application(services)
    app.router.add_get("/livez", health.livez)
    _add_health(app)
    return app


def _application(services: Services) -> web.Application:
    # Bodies are read and bounded by intake itself; no other handler reads one.
    app = web.Application(middlewares=[problems])
    app[SERVICES] = services
    return app


def _add_health(app: web.Application) -> None:
    app.router.add_get("/readyz", health.readyz)
    app.router.add_get("/metrics", health.metrics)
