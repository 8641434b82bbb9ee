"""The OpenAPI description of the API. A test compares it with the routes."""

from __future__ import annotations

from functools import cache

from aiohttp import web
from pydantic.json_schema import models_json_schema

import mediator
from mediator.web.operations import DOCUMENTS, OPERATIONS, REF, Json


@cache
def description() -> Json:
    """The whole document."""
    _, schemas = models_json_schema(
        [(model, "serialization") for model in DOCUMENTS], ref_template=REF
    )
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation.document()
    return {
        "openapi": "3.1.0",
        "info": {"title": "mediator", "version": mediator.__version__},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": "HTTP Message Signature (RFC 9421), hmac-sha256.",
                },
            },
        },
    }


async def openapi(request: web.Request) -> web.Response:
    """The document."""
    del request
    return web.json_response(description())
