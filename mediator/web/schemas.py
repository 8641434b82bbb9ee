"""The JSON documents of the API, as models: they make the answers and the OpenAPI schemas."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

import mediator
from mediator.catalog.script import EnvironmentState, Script
from mediator.errors import BadRequest
from mediator.model.delivery import Attempt, Delivery, Outcome, State, TicketFields
from mediator.model.durations import parse_duration
from mediator.model.policy import Kind
from mediator.storage.interface import Search


class _ApiDocument(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class AttemptDocument(_ApiDocument):
    """One run of the script."""

    number: int
    """1, 2, ..."""
    started: datetime
    ended: datetime | None
    outcome: Outcome | None
    """How it ended; null while it runs."""
    exit_code: int | None
    signal: int | None
    reason: str
    """Why it failed, one sentence; empty when it did not."""
    script_sha256: str
    """Which version of the script ran; empty while it runs."""
    stdout: str | None = None
    """What it wrote to standard output, as UTF-8; null in lists."""
    stdout_bytes: int | None = None
    """How much it wrote; more than `stdout` holds when that was cut."""
    stderr: str | None = None
    stderr_bytes: int | None = None


class TicketDocument(_ApiDocument):
    """What is remembered of the ticket."""

    id: str | None
    subject: str | None
    priority: str | None
    step: str | None
    requester: str | None


class DeliveryDocument(_ApiDocument):
    """One ticket, event and arguments handed over for one script."""

    id: str
    script: str
    event: str
    """Value of SCW_EVENT; empty when it was not sent."""
    arguments: list[str]
    state: State
    interactive: bool
    """Whether SecureChange waited for the answer."""
    ticket: TicketDocument
    key: str
    """The key that the hand-over was signed with."""
    received: datetime
    due: datetime | None
    """When the next attempt is due; null unless pending."""
    ended: datetime | None
    attempts_made: int
    last_error: str
    trace_id: str | None
    """Of the trace it was handed over in, W3C Trace Context; null when there was none."""
    attempts: list[AttemptDocument]


class DeliveryList(_ApiDocument):
    """A page of deliveries, newest first."""

    items: list[DeliveryDocument]
    next: str | None
    """Pass it as `after` for the next page; null on the last one."""


class OutputDocument(_ApiDocument):
    """What one attempt has written."""

    delivery: str
    state: State
    """Of the delivery."""
    attempt: int | None
    """Its number; null when there was none yet."""
    running: bool
    """Whether it can still write more."""
    stdout: str
    """As UTF-8; while it runs the latest part, then its beginning and its end."""
    stdout_bytes: int
    """How much it wrote; more than `stdout` holds when that was cut."""
    stderr: str
    stderr_bytes: int


class AcceptedDocument(_ApiDocument):
    """A delivery that is on disk."""

    delivery: str
    """Its id."""
    duplicate: bool
    """Whether the same content was kept before; then this is the id of that delivery."""
    script: str
    """The file name of the script."""


class EventDocument(_ApiDocument):
    """The deliveries of an event, all of them on disk; none where no route matches."""

    deliveries: list[AcceptedDocument]


class ScriptDocument(_ApiDocument):
    """A script and how it is run."""

    name: str
    ready: bool
    problem: str
    """Why it cannot run; empty when it can."""
    warning: str
    description: str
    policy: dict[str, Any]
    """Every policy key with the value in force; values of `env` are hidden."""
    dependencies: list[str]
    requires_python: str
    environment: EnvironmentState
    """Of the packages it depends on."""
    sha256: str
    """Of the whole file; empty when it could not be read."""


class ScriptList(_ApiDocument):
    """All scripts."""

    items: list[ScriptDocument]
    next: str | None
    """Always null: there is one page."""
    warnings: list[str]
    """Oddities of the scripts directory that stop no script."""


class SlotsDocument(_ApiDocument):
    """How many attempts run in this mediator, and may."""

    running: int
    slots: int


class RecentDocument(_ApiDocument):
    """What happened in this mediator lately."""

    seconds: float
    """How long that is: five minutes, or since it started."""
    accepted: int
    """New deliveries."""
    attempts: int
    """Attempts that ended, those that were cancelled aside."""
    failed: int
    """Those of them that did not succeed."""


class LastDeadDocument(_ApiDocument):
    """The last delivery of a script that died."""

    delivery: str
    ended: datetime | None
    reason: str


class KeyDocument(_ApiDocument):
    """A key that hand-overs are signed with."""

    key: str
    """Its name."""
    scripts: tuple[str, ...] | None
    """Scripts it may hand over to; null when it is all."""


class ScriptStatusDocument(_ApiDocument):
    """A script at a glance."""

    name: str
    kind: Kind
    ready: bool
    problem: str
    """Why it cannot run; empty when it can."""
    succeeded: int
    """Attempts in this mediator since it started."""
    failed: int
    last_dead: LastDeadDocument | None
    """Null when none of the newest dead deliveries is its."""


class StatusDocument(_ApiDocument):
    """The mediator at a glance. Null is what only the store knows, while it is away."""

    version: str
    ready: bool
    """Whether work can be taken and done, as /readyz says."""
    problems: dict[str, str]
    """What keeps it from that: the part and the reason."""
    uptime_seconds: float
    pending: int | None
    running: int | None
    """Deliveries that run, in whichever mediator of the store."""
    dead: int | None
    oldest_pending_seconds: float | None
    """How long ago the oldest pending delivery was received; null when none is pending."""
    free_bytes: int | None
    """Space on the disk of the store; null where it cannot be told."""
    slots: dict[str, SlotsDocument]
    """Of `trigger` and of `interactive` calls."""
    recent: RecentDocument
    scripts: list[ScriptStatusDocument]


class Problem(_ApiDocument):
    """An error, as RFC 9457 wants it."""

    title: str
    status: int
    detail: str
    """One sentence for a person: what, where, and what to do."""
    request_id: str
    """As the log lines of the request and the header `X-Request-ID` have it."""


def document(delivery: Delivery, *, outputs: bool = True) -> DeliveryDocument:
    """A delivery as a document; `outputs`: whether its attempts were read with them."""
    return DeliveryDocument(
        id=delivery.id,
        script=delivery.script,
        event=delivery.event,
        arguments=[_text(argument) for argument in delivery.arguments],
        state=delivery.state,
        interactive=delivery.interactive,
        ticket=_ticket(delivery.ticket),
        key=delivery.key_id,
        received=delivery.received,
        due=delivery.due,
        ended=delivery.ended,
        attempts_made=delivery.attempts_made,
        last_error=delivery.last_error,
        trace_id=delivery.trace.trace_id if delivery.trace else None,
        attempts=[attempt_document(attempt, outputs=outputs) for attempt in delivery.attempts],
    )


def script_document(script: Script) -> ScriptDocument:
    """A script as a document."""
    policy = script.policy.model_dump(mode="json")
    policy["env"] = dict.fromkeys(policy["env"], "(hidden)")
    return ScriptDocument(
        name=script.name,
        ready=script.ready,
        problem=script.problem,
        warning=script.warning,
        description=script.description,
        policy=policy,
        dependencies=list(script.dependencies),
        requires_python=script.requires_python,
        environment=script.environment,
        sha256=script.sha256,
    )


def _ticket(fields: TicketFields) -> TicketDocument:
    return TicketDocument(
        id=fields.id,
        subject=fields.subject,
        priority=fields.priority,
        step=fields.step,
        requester=fields.requester,
    )


def attempt_document(attempt: Attempt, *, outputs: bool = True) -> AttemptDocument:
    """An attempt as a document; `outputs`: whether it was read with them."""
    streams: dict[str, Any] = {}
    if outputs:
        for name, output in (("stdout", attempt.stdout), ("stderr", attempt.stderr)):
            streams |= {name: text_of(output.kept), f"{name}_bytes": output.size}
    return AttemptDocument(
        number=attempt.number,
        started=attempt.started,
        ended=attempt.ended,
        outcome=attempt.outcome,
        exit_code=attempt.exit_code,
        signal=attempt.signal,
        reason=attempt.reason,
        script_sha256=attempt.script_sha256,
        **streams,
    )


def text_of(data: bytes) -> str:
    """What a script wrote, as UTF-8."""
    return data.decode("utf-8", "replace")


def _text(argument: str) -> str:
    """JSON cannot carry the surrogates that stand for bytes which are not UTF-8."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# Reading the query string of a list of deliveries.

LARGEST_PAGE = 500
_KEYS = ("script", "event", "state", "ticket", "since", "until", "limit", "after")
_LARGEST_SEQ = 2**63 - 1


def read_search(query: MultiMapping[str], *, now: datetime) -> Search:
    """The search asked for. Raises `BadRequest` naming the parameter."""
    twice = [key for key in query if len(query.getall(key)) > 1]
    if twice:
        raise BadRequest(f"The parameter {twice[0][:100]!r} is there more than once.")
    unknown = [key for key in query if key not in _KEYS]
    if unknown:
        raise BadRequest(
            f"The parameter {unknown[0][:100]!r} is unknown; there are {', '.join(_KEYS)}."
        )
    after = query.get("after")
    return Search(
        script=query.get("script"),
        event=query.get("event"),
        state=_state(query.get("state")),
        ticket=query.get("ticket"),
        since=_time("since", query.get("since"), now),
        until=_time("until", query.get("until"), now),
        limit=_number("limit", query.get("limit", "50"), LARGEST_PAGE),
        after=None if after is None else _number("after", after, _LARGEST_SEQ),
    )


def _state(text: str | None) -> State | None:
    if text is None:
        return None
    try:
        return State(text)
    except ValueError:
        states = ", ".join(State)
        raise BadRequest(f"state={text[:100]!r} is no state; there are {states}.") from None


def _time(key: str, text: str | None, now: datetime) -> datetime | None:
    """A date and time (ISO 8601), or a duration before now."""
    if text is None:
        return None
    with suppress(ValueError, OverflowError):
        return now - parse_duration(text)
    for spelt in (text, text.replace(" ", "+")):  # a + that was not encoded has become a blank
        with suppress(ValueError, OverflowError):
            time = datetime.fromisoformat(spelt)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    example = (now - timedelta(days=1)).isoformat(timespec="seconds")
    raise BadRequest(
        f"{key}={text[:100]!r} is neither a time such as {example} nor a duration such as 2h."
    )


def _number(key: str, text: str, largest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= largest:
        return int(text)
    raise BadRequest(f"{key}={text[:100]!r} is not a number from 1 to {largest}.")


# Every operation of the API, as the OpenAPI description tells it.


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


# The OpenAPI description of the API. A test compares it with the routes.


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
