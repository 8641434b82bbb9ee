"""What the caller of intake hears: accepted, or the script's own answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from mediator.errors import Conflict, DeadlineMissed, Draining, NotReady
from mediator.model.attempts import Attempt, Outcome
from mediator.model.deliveries import Accepted, Delivery, NewDelivery, Repeat, State
from mediator.model.policies import Policy
from mediator.web.documents import AcceptedDocument, document
from mediator.web.handover import Preference
from mediator.web.services import Services

LATE = 0.5
"""Seconds a caller waits beyond the script's timeout, to hear how it ended."""
_SIGNAL_EXIT = 128
"""Added to a signal's number, as shells do."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """Answers one hand-over that is already kept."""

    services: Services
    request: web.Request
    policy: Policy

    async def answer(
        self, new: NewDelivery, accepted: Accepted, preference: Preference
    ) -> web.StreamResponse:
        """At once for a trigger, with the script's answer otherwise; `Prefer` overrides."""
        if preference.respond_async or (not new.interactive and preference.wait is None):
            return _accepted(accepted)
        if new.interactive:
            return await self._script_answer(accepted, preference)
        delivery = await self._wait(accepted.id, preference.wait or 0.0)
        return self._ended(delivery) if delivery.state.ended else _accepted(accepted)

    async def _script_answer(
        self, accepted: Accepted, preference: Preference
    ) -> web.StreamResponse:
        seconds = preference.patience(self.policy.timeout).total_seconds()
        delivery = await self._wait(accepted.id, seconds + LATE)
        if delivery.state.ended:
            return self._ended(delivery)
        if self.services.idle.is_set():
            raise Draining(
                f"The mediator shut down before the script {delivery.script} had answered; try"
                " again in a few seconds."
            )
        return await self._stop(delivery, seconds)

    async def _wait(self, delivery_id: str, seconds: float) -> Delivery:
        """The delivery as it is when it has ended, or nothing runs any more, or after `seconds`."""
        store = self.services.store
        with store.notices.watch(delivery_id) as ended:
            # It may have ended before the watch began: a re-sent request, or a quick script.
            delivery = await store.find(delivery_id)
            if delivery.state.ended:
                return delivery
            await _first(ended, self.services.idle, seconds)
        return await store.find(delivery_id)

    async def _stop(self, delivery: Delivery, seconds: float) -> web.StreamResponse:
        """Nobody waits any more: what still waits or runs is stopped."""
        store, now = self.services.store, self.services.clock.now()
        try:
            await store.cancel(delivery.id, now=now, reason="its caller's deadline passed")
        except Conflict:  # it ended in this very moment
            return self._ended(await store.find(delivery.id))
        raise self._late(delivery, f"within {seconds:g} seconds")

    def _late(self, delivery: Delivery, when: str) -> DeadlineMissed:
        self.services.metrics.deadline_missed.labels(delivery.script).inc()
        return DeadlineMissed(
            f"The script {delivery.script} did not answer {when}; it was stopped."
        )

    def _ended(self, delivery: Delivery) -> web.StreamResponse:
        attempt = self._answered(delivery)
        if "application/json" in self.request.headers.get("Accept", ""):
            response = web.json_response(text=document(delivery).model_dump_json())
            response.headers["Mediator-Delivery"] = delivery.id
            return response
        return _raw(delivery, attempt)

    def _answered(self, delivery: Delivery) -> Attempt:
        """The attempt that answered. Raises what else came of the delivery.

        None of these is worth sending again with the same Idempotency-Key: the end is the end.
        """
        attempt = delivery.attempts[-1] if delivery.attempts else None
        if delivery.state is State.CANCELLED and _past_deadline(delivery):
            raise self._late(delivery, "in time")
        if attempt is None or delivery.state is State.CANCELLED:
            raise Conflict(f"The delivery {delivery.id} was cancelled: {delivery.last_error}.")
        if attempt.outcome is Outcome.TIMEOUT:
            raise self._late(delivery, "within its timeout")
        if attempt.outcome is Outcome.NOT_STARTED:
            raise NotReady(f"The script {delivery.script} could not be started: {attempt.reason}")
        if attempt.outcome is Outcome.LOST:
            raise Conflict(f"How the script {delivery.script} ended is unknown: {attempt.reason}.")
        if attempt.stdout.truncated:
            raise Conflict(
                f"The script {delivery.script} answered {attempt.stdout.size} bytes, more than"
                " limits.output of its policy allows; a cut answer would be a wrong one."
            )
        return attempt


async def _first(ended: asyncio.Event, idle: asyncio.Event, seconds: float) -> None:
    """Return when one of both is set, at the latest after `seconds`."""
    waits = [asyncio.create_task(event.wait(), name="waiting") for event in (ended, idle)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _past_deadline(delivery: Delivery) -> bool:
    end, deadline = delivery.ended, delivery.expires
    return end is not None and deadline is not None and end >= deadline


def _accepted(accepted: Accepted) -> web.Response:
    duplicate = accepted.repeat is Repeat.DUPLICATE
    headers = {"Location": f"/v1/deliveries/{accepted.id}", "Mediator-Delivery": accepted.id}
    if duplicate:
        headers["Mediator-Duplicate"] = "true"
    kept = AcceptedDocument(delivery=accepted.id, duplicate=duplicate)
    return web.json_response(text=kept.model_dump_json(), status=202, headers=headers)


def _raw(delivery: Delivery, attempt: Attempt) -> web.Response:
    code = attempt.exit_code
    if code is None:
        code = _SIGNAL_EXIT + (attempt.signal or 0)
    return web.Response(
        body=attempt.stdout.kept + attempt.stderr.kept,
        content_type="application/octet-stream",
        headers={
            "Mediator-Delivery": delivery.id,
            "Mediator-Exit-Code": str(code),
            "Mediator-Stdout-Length": str(attempt.stdout.size),
        },
    )
