"""What the log and the trace tell of an attempt: its ids in every line, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import structlog
from structlog.contextvars import bound_contextvars

from mediator.model.attempts import Ended, Outcome
from mediator.model.deliveries import Claim, Fate, State, Verdict
from mediator.tracing.context import traced
from mediator.tracing.port import Role, Span, Tracer

_log = structlog.get_logger()


@contextmanager
def named(claim: Claim) -> Iterator[None]:
    """Every line that is logged meanwhile, by whichever part, has the ids of the attempt."""
    delivery = claim.delivery
    with bound_contextvars(
        delivery_id=delivery.id,
        ticket_id=delivery.ticket.id,
        script=delivery.script,
        attempt=claim.number,
        **traced(delivery.trace),
    ):
        yield


@contextmanager
def attempt_span(tracer: Tracer, claim: Claim, started: datetime) -> Iterator[Span]:
    """The span of an attempt, after one for the time that its delivery waited for the first."""
    delivery = claim.delivery
    facts = {
        "mediator.delivery_id": delivery.id,
        "mediator.ticket_id": delivery.ticket.id,
        "mediator.script": delivery.script,
        "mediator.attempt": claim.number,
    }
    parent = delivery.trace
    if claim.number == 1:
        began = min(delivery.received, started)
        tracer.past("delivery waits", parent=parent, began=began, ended=started, facts=facts)
    with tracer.span("attempt", role=Role.CONSUMER, parent=parent, facts=facts) as span:
        yield span


def tell_ended(
    span: Span, claim: Claim, ended: Ended, *, verdict: Verdict, state: State | None
) -> None:
    """One line for the attempt, and one for the delivery if that has ended too."""
    _record(span, ended, state)
    fields = {"outcome": str(ended.outcome), "exit_code": ended.exit_code}
    if state is None:
        _log.warning("attempt ended, but it was no longer ours", **fields)
        return
    if ended.outcome is Outcome.OK or not verdict.charged:
        _log.info("attempt ended", **fields, state=str(state), reason=ended.reason)
    else:
        due = verdict.due.isoformat() if verdict.due and state is verdict.state else None
        _log.warning(
            "attempt ended", **fields, state=str(state), reason=ended.reason, next_attempt=due
        )
    if state.ended:
        interactive = claim.delivery.interactive
        fields = {"attempts": claim.number, "reason": verdict.error}
        _tell_delivery(state, interactive=interactive, fields=fields)


def tell_fates(fates: Iterable[Fate]) -> None:
    """One line for each delivery that has ended without an attempt having told so."""
    for fate in fates:
        if fate.state.ended:
            fields = {
                "delivery_id": fate.id,
                "ticket_id": fate.ticket_id,
                "script": fate.script,
                "reason": fate.reason,
            }
            _tell_delivery(fate.state, interactive=fate.interactive, fields=fields)


def _tell_delivery(state: State, *, interactive: bool, fields: Mapping[str, object]) -> None:
    fields = {"state": str(state), **fields}
    if state is State.DEAD and not interactive:
        _log.error("delivery ended", **fields)
    elif state is State.DEAD:  # who waited was told, and can do it again
        _log.warning("delivery ended", **fields)
    else:
        _log.info("delivery ended", **fields)


def _record(span: Span, ended: Ended, state: State | None) -> None:
    span.note(
        {
            "mediator.outcome": str(ended.outcome),
            "mediator.state": None if state is None else str(state),
            "process.exit.code": ended.exit_code,
        }
    )
    if ended.outcome is not Outcome.OK:
        span.fail(ended.reason)
