"""What the caller of intake hears: accepted, or the script's own answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from mediator.errors import (
    Conflict,
    DeadlineMissed,
    MediatorError,
    NotReady,
    Unavailable,
)
from mediator.model.attempts import Attempt, Outcome
from mediator.model.deliveries import Accepted, Delivery, NewDelivery, Repeat
from mediator.model.policies import Policy
from mediator.web.documents import document
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
        return _accepted(accepted) if delivery is None else self._ended(delivery)

    async def _script_answer(
        self, accepted: Accepted, preference: Preference
    ) -> web.StreamResponse:
        seconds = self.policy.timeout.total_seconds() + LATE
        if preference.wait is not None:
            seconds = min(seconds, preference.wait)
        delivery = await self._wait(accepted.id, seconds)
        if delivery is None:
            await self._give_up(accepted.id, seconds)
        return self._ended(delivery)

    async def _wait(self, delivery_id: str, seconds: float) -> Delivery | None:
        """The delivery when it has ended within `seconds`, else None."""
        store = self.services.store
        with store.notices.watch(delivery_id) as ended:
            # It may have ended before the watch began: a re-sent request, or a quick script.
            delivery = await store.find(delivery_id)
            if not delivery.state.ended:
                try:
                    async with asyncio.timeout(seconds):
                        await ended.wait()
                except TimeoutError:
                    return None
                delivery = await store.find(delivery_id)
        return delivery if delivery.state.ended else None

    async def _give_up(self, delivery_id: str, seconds: float) -> NoReturn:
        """Nobody waits any more: what still waits or runs is stopped."""
        try:
            delivery = await self.services.store.cancel(
                delivery_id,
                now=self.services.clock.now(),
                reason="its caller's deadline passed before it started",
            )
            script = delivery.script
        except MediatorError:  # it ended in this very moment
            script = (await self.services.store.find(delivery_id)).script
        self._late(script, seconds)

    def _late(self, script: str, seconds: float) -> NoReturn:
        self.services.metrics.deadline_missed.labels(script).inc()
        raise DeadlineMissed(
            f"The script {script} did not answer within {seconds:g} seconds; it was stopped."
        )

    def _ended(self, delivery: Delivery) -> web.StreamResponse:
        attempt = delivery.attempts[-1] if delivery.attempts else None
        if attempt is None or attempt.outcome is Outcome.CANCELLED:
            raise Conflict(f"The delivery {delivery.id} was cancelled: {delivery.last_error}.")
        if attempt.outcome is Outcome.TIMEOUT:
            self._late(delivery.script, self.policy.timeout.total_seconds())
        if attempt.outcome is Outcome.NOT_STARTED:
            raise NotReady(f"The script {delivery.script} could not be started: {attempt.reason}")
        if attempt.outcome is Outcome.LOST:
            raise Unavailable(f"The end of the script {delivery.script} is unknown; try again.")
        if attempt.stdout.truncated:
            raise MediatorError(
                f"The script {delivery.script} answered more than the policy's limits.output;"
                " raise it, or the answer is incomplete."
            )
        if "application/json" in self.request.headers.get("Accept", ""):
            return web.json_response(document(delivery).model_dump(mode="json"))
        return _raw(delivery, attempt)


def _accepted(accepted: Accepted) -> web.Response:
    duplicate = accepted.repeat is Repeat.DUPLICATE
    headers = {"Location": f"/v1/deliveries/{accepted.id}", "Mediator-Delivery": accepted.id}
    if duplicate:
        headers["Mediator-Duplicate"] = "true"
    document = {"delivery": accepted.id, "duplicate": duplicate}
    return web.json_response(document, status=202, headers=headers)


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
