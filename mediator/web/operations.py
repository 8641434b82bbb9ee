"""Every operation of the API, as the OpenAPI description tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from mediator.model.deliveries import State
from mediator.web.documents import (
    AcceptedDocument,
    DeliveryDocument,
    DeliveryList,
    EventDocument,
    KeyDocument,
    OutputDocument,
    Problem,
    ScriptDocument,
    ScriptList,
    StatusDocument,
)
from mediator.web.searching import LARGEST_PAGE

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
DOCUMENTS = (
    AcceptedDocument,
    DeliveryDocument,
    DeliveryList,
    EventDocument,
    KeyDocument,
    OutputDocument,
    Problem,
    ScriptDocument,
    ScriptList,
    StatusDocument,
)


def _parameter(name: str, where: str, description: str, **schema: Any) -> Json:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": description,
        "schema": {"type": "string", **schema},
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    name: str
    summary: str
    answers: dict[int, type[BaseModel] | str]
    parameters: tuple[Json, ...] = ()
    security: str | None = None
    headers: dict[int, Json] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    """content types of status 200 besides JSON"""
    extra: Json = field(default_factory=dict)

    def document(self) -> Json:
        """As OpenAPI wants it."""
        document: Json = {
            "operationId": self.name,
            "summary": self.summary,
            "responses": {str(code): self._response(code) for code in self.answers},
            **self.extra,
        }
        if self.parameters:
            document["parameters"] = list(self.parameters)
        if self.security:
            document["security"] = [{self.security: []}]
        return document

    def _response(self, code: int) -> Json:
        response = _described(self.answers[code])
        if headers := self.headers.get(code):
            response["headers"] = headers
        if code == 200:
            text = {"schema": {"type": "string"}}
            response.setdefault("content", {}).update(dict.fromkeys(self.texts, text))
        return response


def _described(answer: type[BaseModel] | str) -> Json:
    if isinstance(answer, str):
        return {"description": answer}
    kind = "application/problem+json" if answer is Problem else "application/json"
    schema = {"$ref": REF.format(model=answer.__name__)}
    doc = (answer.__doc__ or "").strip()
    return {"description": doc, "content": {kind: {"schema": schema}}}


def _header(description: str, kind: str = "string", *, always: bool = True) -> Json:
    return {"description": description, "required": always, "schema": {"type": kind}}


_ID = _parameter("id", "path", "Id of the delivery, as `Mediator-Delivery` gave it.")
_NAME = _parameter("name", "path", "File name of the script, or its name without suffix.")
_TIME = "A time (ISO 8601), or a duration before now such as 2h."
_WHEN: Json = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "pattern": "^[0-9]{1,5}(ms|s|m|h|d)$"},
    ]
}
_CALL = (
    _parameter("SCW_EVENT", "query", "The event; every SCW_* variable is passed on."),
    {
        **_parameter("arg", "query", "Arguments of the script, in order."),
        "schema": {"type": "array", "items": {"type": "string"}},
    },
)
_TICKET: Json = {
    "requestBody": {"content": {"application/xml": {"schema": {"type": "string"}}}},
}
_SEARCH = (
    _parameter("script", "query", "File name of the script."),
    _parameter("event", "query", "Value of SCW_EVENT."),
    _parameter("state", "query", "State of the delivery.", enum=list(State)),
    _parameter("ticket", "query", "Id of the ticket."),
    {**_parameter("since", "query", f"Received at or after. {_TIME}"), "schema": _WHEN},
    {**_parameter("until", "query", f"Received before. {_TIME}"), "schema": _WHEN},
    _parameter(
        "limit", "query", "Deliveries on a page.", type="integer", minimum=1, maximum=LARGEST_PAGE
    ),
    _parameter("after", "query", "`next` of the page before.", pattern="^[1-9][0-9]{0,17}$"),
)
REFUSALS: dict[int, type[BaseModel] | str] = dict.fromkeys(
    (400, 401, 403, 404, 408, 409, 413, 417, 422, 429, 500, 502, 503, 504), Problem
)
_HAND_OVER = (
    _parameter("script", "path", "File name of the script, or its name without suffix."),
    *_CALL,
    _parameter("Prefer", "header", "`respond-async`, or `wait=SECONDS` (RFC 7240)."),
)
_HANDED_OVER: dict[int, type[BaseModel] | str] = {
    200: "The script has ended; the body is its stdout, then its stderr.",
    202: AcceptedDocument,
    **REFUSALS,
}
_LOOK: dict[int, type[BaseModel] | str] = {401: Problem, 503: Problem}
_ACT: dict[int, type[BaseModel] | str] = {**_LOOK, 403: Problem, 404: Problem, 409: Problem}

_DELIVERY = {"Mediator-Delivery": _header("Id of the delivery.")}
_KEPT = {
    **_DELIVERY,
    "Location": _header("Where the delivery is looked at."),
    "Mediator-Duplicate": _header("`true` when the same content was kept before.", always=False),
}
_ENDED = {
    **_DELIVERY,
    "Mediator-Exit-Code": _header("Exit code; 128 + n after signal n.", "integer", always=False),
    "Mediator-Stdout-Length": _header("Bytes of stdout in the body.", "integer", always=False),
}

OPERATIONS = (
    Operation(
        method="post",
        path="/v1/scripts/{script}/deliveries",
        name="handOver",
        summary="Hand over a ticket for a script; signed by RFC 9421.",
        parameters=_HAND_OVER,
        answers=_HANDED_OVER,
        security="signature",
        extra=_TICKET,
    ),
    Operation(
        method="post",
        path="/v1/events",
        name="handOverEvent",
        summary="Hand over an event; the routes choose the scripts. Signed by RFC 9421.",
        parameters=_CALL,
        answers={
            200: "The Test button: the state of every script that a route names.",
            202: EventDocument,
            **REFUSALS,
        },
        security="signature",
        extra=_TICKET,
    ),
    Operation(
        method="post",
        path="/v1/migration/{script}",
        name="migrate",
        summary="Hand over with a token of the role sender, where http.migration allows it.",
        parameters=_HAND_OVER,
        answers=_HANDED_OVER,
        security="token",
        extra={
            "requestBody": {
                "content": {
                    "application/xml": {"schema": {"type": "string"}},
                    "application/json": {"schema": {"type": "object"}},
                    "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
                }
            }
        },
    ),
    Operation(
        method="get",
        path="/v1/deliveries",
        name="listDeliveries",
        summary="Deliveries, newest first, without outputs.",
        parameters=_SEARCH,
        answers={200: DeliveryList, 400: Problem, **_LOOK},
        security="token",
    ),
    Operation(
        method="get",
        path="/v1/deliveries/{id}",
        name="showDelivery",
        summary="One delivery with its attempts and their outputs.",
        parameters=(_ID,),
        answers={200: DeliveryDocument, 404: Problem, **_LOOK},
        security="token",
    ),
    Operation(
        method="get",
        path="/v1/deliveries/{id}/output",
        name="showOutput",
        summary="What an attempt has written, also while it runs.",
        parameters=(
            _ID,
            _parameter(
                "attempt",
                "query",
                "Number of the attempt; by default the latest.",
                type="integer",
                minimum=1,
                maximum=999_999_999,
            ),
            _parameter(
                "follow",
                "query",
                "Server-sent events from that attempt on until the delivery has ended: `attempt`"
                " when one begins and when it has ended, `stdout`, `stderr`, `gap` for bytes that"
                " a slow reader missed, `end`. `Accept: text/event-stream` asks for the same.",
                enum=["", "true", "false"],
            ),
        ),
        answers={200: OutputDocument, 400: Problem, 404: Problem, **_LOOK},
        texts=("text/plain", "text/event-stream"),
        security="token",
    ),
    Operation(
        method="post",
        path="/v1/deliveries/{id}/retry",
        name="retryDelivery",
        summary="Make it due now with a fresh budget. Needs the role operator.",
        parameters=(_ID,),
        answers={200: DeliveryDocument, **_ACT},
        security="token",
    ),
    Operation(
        method="post",
        path="/v1/deliveries/{id}/cancel",
        name="cancelDelivery",
        summary="End it, or stop its running attempt. Needs the role operator.",
        parameters=(_ID,),
        answers={200: DeliveryDocument, **_ACT},
        security="token",
    ),
    Operation(
        method="get",
        path="/v1/scripts",
        name="listScripts",
        summary="All scripts, whether they are ready, and their policies.",
        answers={200: ScriptList, **_LOOK},
        security="token",
    ),
    Operation(
        method="get",
        path="/v1/scripts/{name}",
        name="showScript",
        summary="One script.",
        parameters=(_NAME,),
        answers={200: ScriptDocument, 404: Problem, **_LOOK},
        security="token",
    ),
    Operation(
        method="get",
        path="/v1/status",
        name="showStatus",
        summary="The mediator at a glance.",
        answers={200: StatusDocument, **_LOOK},
        security="token",
    ),
    Operation(
        method="get",
        path="/v1/key",
        name="showKey",
        summary="Whether a key is accepted. Signed as a hand-over without a body.",
        answers={200: KeyDocument, 401: Problem, 503: Problem},
        security="signature",
    ),
    Operation(
        method="get",
        path="/v1/openapi.json",
        name="describe",
        summary="This description.",
        answers={200: "An OpenAPI 3.1 document."},
    ),
    Operation(
        method="get",
        path="/livez",
        name="livez",
        summary="Whether the process answers.",
        answers={200: "It does."},
    ),
    Operation(
        method="get",
        path="/readyz",
        name="readyz",
        summary="Whether work can be taken and done.",
        answers={200: "It can.", 503: "It cannot; the document says why."},
    ),
    Operation(
        method="get",
        path="/metrics",
        name="metrics",
        summary="Metrics for Prometheus.",
        answers={200: "Text in the Prometheus exposition format."},
    ),
)
