"""The JSON documents of the API, as models: they make the answers and the OpenAPI schemas.

How a delivery, an attempt and a script become documents is at the end, and how the query string of
a list of deliveries is read.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict

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
    """Warnings about the scripts directory, which stop no script."""


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
