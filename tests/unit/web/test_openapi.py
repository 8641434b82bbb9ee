"""The description of the API is the API."""

from __future__ import annotations

from typing import cast

import pytest
from aiohttp import web

from mediator.web.app import description, make_api, make_health
from mediator.web.services import Services

NOBODY = cast("Services", None)


def routes(app: web.Application) -> set[tuple[str, str]]:
    found = set()
    for route in app.router.routes():
        assert route.resource is not None
        if route.method != "HEAD":  # comes with every GET
            found.add((route.method.lower(), route.resource.canonical))
    return found


def test_every_route_is_described_and_nothing_else() -> None:
    described = {
        (method, path) for path, methods in description()["paths"].items() for method in methods
    }
    assert described == routes(make_api(NOBODY, with_health=True))


def test_health_on_a_port_of_its_own_is_the_same_health() -> None:
    health = {("get", "/livez"), ("get", "/readyz"), ("get", "/metrics")}
    assert routes(make_health(NOBODY)) == health
    apart = routes(make_api(NOBODY, with_health=False))
    assert apart == routes(make_api(NOBODY, with_health=True)) - {
        ("get", "/readyz"),
        ("get", "/metrics"),
    }


@pytest.mark.parametrize("path", [path for path in description()["paths"] if "{" in path])
def test_every_variable_of_a_path_is_a_parameter(path: str) -> None:
    wanted = {part.strip("{}") for part in path.split("/") if part.startswith("{")}
    for operation in description()["paths"][path].values():
        given = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert given == wanted


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [o["operationId"] for path in description()["paths"].values() for o in path.values()]
    assert len(names) == len(set(names))
