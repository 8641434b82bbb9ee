"""What becomes of a delivery after an attempt ended."""

from __future__ import annotations

from datetime import datetime

from mediator.dispatch.retrying import next_attempt
from mediator.model.attempts import Ended, Outcome
from mediator.model.deliveries import Delivery, State, Verdict
from mediator.model.policies import Policy


def judge(ended: Ended, delivery: Delivery, policy: Policy, *, now: datetime) -> Verdict:
    """The verdict by the policy. `cancelled` means that somebody asked for it."""
    if ended.outcome is Outcome.OK:
        return Verdict(state=State.SUCCEEDED)
    if ended.outcome is Outcome.CANCELLED:
        return Verdict(state=State.CANCELLED, error="cancelled while it ran")
    if delivery.interactive:
        return Verdict(state=State.DEAD, charged=True, error=ended.reason)
    if why := _hopeless(ended, policy):
        return Verdict(state=State.DEAD, charged=True, error=f"{ended.reason}; {why}")
    due = next_attempt(
        policy.retry,
        failures=delivery.failures + 1,
        budget_start=delivery.budget_start,
        now=now,
    )
    if due is None:
        error = f"{ended.reason}; no attempt is left by the policy"
        return Verdict(state=State.DEAD, charged=True, error=error)
    return Verdict(state=State.PENDING, due=due, charged=True, error=ended.reason)


def _hopeless(ended: Ended, policy: Policy) -> str:
    """Why no other attempt is worth it; empty: it is."""
    if ended.final:
        return "another attempt would end in the same way"
    # What a script exits with after the mediator stopped it says nothing of the ticket.
    if ended.outcome is Outcome.FAILED and ended.exit_code in policy.give_up_on:
        return "the policy gives up on this exit code"
    return ""


_SHUT_DOWN = "the mediator was shut down while this attempt ran"


def cut_short(*, now: datetime, error: str = _SHUT_DOWN) -> Verdict:
    """What is not the script's fault costs nothing, and the attempt is made again."""
    return Verdict(state=State.PENDING, due=now, error=error)
