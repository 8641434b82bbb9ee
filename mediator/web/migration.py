"""POST /v1/migration/{script}: for callers that other people's mediators were written for.

Off unless `http.migration` is true. It takes the ticket as they sent it - a base64 form field
`ticket_info`, JSON with `ticket_info` and `event`, or raw - and a bearer token instead of a
signature. So nothing proves that the request is unchanged or fresh: it helps to migrate to the
shim, and no more. Whatever arrives here goes the way of every other hand-over.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

import uuid_utils
from aiohttp import web

from mediator.errors import BadRequest, NotFound
from mediator.settings.schema import Role
from mediator.web.intake import ANSWERS, PARAMETERS, take
from mediator.web.middleware import handing_over, trace_of
from mediator.web.openapi import Operation
from mediator.web.request import Call, HandOver, Sender, check_length, read_body, read_query
from mediator.web.services import SERVICES
from mediator.web.tokens import require

_TICKET, _EVENT, _ARGUMENTS = "ticket_info", "event", "arguments"
_MOST_FIELDS = 20


@Operation(
    name="migrate",
    summary="Hand over with a token of the role sender, where http.migration allows it.",
    parameters=PARAMETERS,
    body={
        "application/xml": "string",
        "application/json": "object",
        "application/x-www-form-urlencoded": "object",
    },
    answers=ANSWERS,
    security="token",
)
@handing_over
async def migrate(request: web.Request) -> web.StreamResponse:
    """Take one delivery the old way, or refuse it."""
    return await take(request, await _read(request))


async def _read(request: web.Request) -> HandOver:
    services = request.app[SERVICES]
    if not services.migration:
        raise NotFound("This way in is closed; http.migration in the settings opens it.")
    services.refuse_while_draining()
    holder = require(request, Role.SENDER)
    limit = 2 * services.body_limit  # base64 takes a third more, and JSON or a form a little
    check_length(request, limit)
    sent = await read_body(request, limit, seconds=services.body_seconds)
    fields = _fields(request, sent)
    call = read_query(request.rel_url.raw_query_string)
    return HandOver(
        sender=Sender(id=f"token {holder.name}", key=None),
        idempotency_key=request.headers.get("Idempotency-Key", "")[:200] or uuid_utils.uuid4().hex,
        call=call if fields is None else _call(call, fields),
        body=sent if fields is None else _ticket(fields),
        trace=trace_of(request),
    )


def _fields(request: web.Request, sent: bytes) -> Mapping[str, Any] | None:
    """The fields of JSON or of a form; None: the body is the ticket itself."""
    kind = request.content_type
    if kind == "application/json":
        return _json(sent)
    if kind == "application/x-www-form-urlencoded":
        return _form(sent)
    if kind == "multipart/form-data":
        raise BadRequest("Send the form as application/x-www-form-urlencoded.")
    return None


def _json(sent: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(sent)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not the JSON that its Content-Type says.") from error
    if not isinstance(document, dict):
        raise BadRequest(f"The JSON must be an object with {_TICKET} in it.")
    return document


def _form(sent: bytes) -> Mapping[str, Any]:
    try:
        text = sent.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise BadRequest("The body is not the form that its Content-Type says.") from error


def _ticket(fields: Mapping[str, Any]) -> bytes:
    text = fields.get(_TICKET)
    if not isinstance(text, str):
        raise BadRequest(f"The field {_TICKET} with the ticket in base64 is missing.")
    try:
        # In a form a plus sign that nobody encoded arrives as a blank.
        joined = "".join(text.splitlines()).replace(" ", "+")
        return base64.b64decode(joined, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"The field {_TICKET} is not base64.") from error


def _call(call: Call, fields: Mapping[str, Any]) -> Call:
    """Event and arguments from the fields, where the query does not have them."""
    event = fields.get(_EVENT, call.event)
    arguments = fields.get(_ARGUMENTS, list(call.arguments))
    if isinstance(arguments, str):
        arguments = [arguments]
    if not isinstance(event, str) or not _texts(arguments):
        raise BadRequest(f"{_EVENT} must be a word, and {_ARGUMENTS} a text or a list of texts.")
    query = read_query(f"SCW_EVENT={quote(event)}" if event else "")
    return Call(
        event=query.event,
        variables={**call.variables, **query.variables},
        arguments=tuple(arguments),
    )


def _texts(arguments: object) -> bool:
    return isinstance(arguments, list) and all(
        isinstance(argument, str) and "\x00" not in argument for argument in arguments
    )
