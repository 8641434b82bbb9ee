"""Asks the cluster why it has made no pod: only its events tell, such as of a quota."""

from __future__ import annotations

from mediator.model.attempts import Outcome
from mediator.runners.kubernetes.calls import Calls
from mediator.runners.kubernetes.situation import Failed, Waiting

_REFUSED = "FailedCreate"
"""What the Job controller says when the API server takes no pod from it."""


async def refusal(calls: Calls, job: str, found: Waiting) -> Waiting | Failed:
    """The refusal that the cluster tells of, else what was found."""
    selector = f"involvedObject.kind=Job,involvedObject.name={job},reason={_REFUSED}"
    try:
        events = await calls.get(calls.of_core("events"), fieldSelector=selector)
    except Exception:  # noqa: BLE001 - it only explains; the watch tells of a cluster that is away
        return found
    for event in events["items"]:
        reason = f"refused by the cluster: {event.get('message', '').rstrip('.')}"
        return Failed(outcome=Outcome.REFUSED, reason=reason)
    return found
