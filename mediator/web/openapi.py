"""The OpenAPI description of the API, built from what is said beside each handler.

A handler is decorated with an `Operation`; the routing table of `app` says at which path it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import mediator
from mediator.web.middleware import Handler
from mediator.web.schemas import Problem

Json = dict[str, Any]
Answers = dict[int, type[BaseModel] | str]
"""HTTP status → the document that it comes with, or what it means."""
HandlerT = TypeVar("HandlerT", bound=Handler)

_REF = "#/components/schemas/{model}"
_SECURITY: Json = {
    "token": {"type": "http", "scheme": "bearer"},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Signature",
        "description": "HTTP Message Signature (RFC 9421), hmac-sha256.",
    },
}


def describe(routes: Iterable[web.RouteDef]) -> Json:
    """The whole document. Raises `KeyError` for a route whose handler is not described."""
    paths: Json = {}
    models: dict[type[BaseModel], None] = {}
    for route in routes:
        described = _operations[route.handler]
        paths.setdefault(route.path, {})[route.method.lower()] = described.document()
        models |= dict.fromkeys(a for a in described.answers.values() if isinstance(a, type))
    _, schemas = models_json_schema(
        [(model, "serialization") for model in models], ref_template=_REF
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "mediator", "version": mediator.__version__},
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": _SECURITY},
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """What a handler does, whatever its method and path; the outermost decorator of the handler."""

    name: str
    """`operationId`"""
    summary: str
    answers: Answers
    parameters: tuple[Json, ...] = ()
    body: Mapping[str, str] = field(default_factory=dict)
    """content type that is taken → its type in JSON Schema"""
    texts: tuple[str, ...] = ()
    """content types of status 200 besides JSON"""
    security: str | None = None
    """`token` or `signature`; None: nobody has to prove anything"""

    def __call__(self, handler: HandlerT) -> HandlerT:
        """Say it of this handler."""
        _operations[handler] = self
        return handler

    def document(self) -> Json:
        """As OpenAPI wants it."""
        document: Json = {
            "operationId": self.name,
            "summary": self.summary,
            "responses": {str(code): self._response(code) for code in self.answers},
        }
        if self.parameters:
            document["parameters"] = list(self.parameters)
        if self.body:
            taken = {kind: {"schema": {"type": schema}} for kind, schema in self.body.items()}
            document["requestBody"] = {"content": taken}
        if self.security:
            document["security"] = [{self.security: []}]
        return document

    def _response(self, code: int) -> Json:
        response = _described(self.answers[code])
        if code == HTTPStatus.OK:
            text = {"schema": {"type": "string"}}
            response.setdefault("content", {}).update(dict.fromkeys(self.texts, text))
        return response


_operations: dict[Handler, Operation] = {}


def _described(answer: type[BaseModel] | str) -> Json:
    if isinstance(answer, str):
        return {"description": answer}
    kind = "application/problem+json" if answer is Problem else "application/json"
    schema = {"$ref": _REF.format(model=answer.__name__)}
    doc = (answer.__doc__ or "").strip()
    return {"description": doc, "content": {kind: {"schema": schema}}}


def parameter(name: str, where: str, description: str, **schema: Any) -> Json:
    """A parameter in the `path`, `query` or `header`: a text unless `schema` says otherwise."""
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": description,
        "schema": {"type": "string", **schema},
    }


def refused(*statuses: int) -> Answers:
    """Answers by which something is refused, each a problem document."""
    return dict.fromkeys(statuses, Problem)
