"""What the caller of intake hears: accepted, or the script's own answer, or that it was checked.

The shim writes such an answer to its own stdout and stderr, and exits as the script did.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from aiohttp import web

from mediator.catalog.script import Script
from mediator.clock import wait_for_any
from mediator.errors import (
    Conflict,
    DeadlineMissed,
    Draining,
    MediatorError,
    NotReady,
    ScriptFailed,
    StoreUnavailable,
)
from mediator.model.delivery import Accepted, Attempt, Delivery, NewDelivery, Outcome, Repeat, State
from mediator.model.durations import format_duration
from mediator.model.policy import Kind, Trouble, WhenTested
from mediator.web.request import Preference
from mediator.web.schemas import AcceptedDocument, document
from mediator.web.services import Services

_log = structlog.get_logger()

LATE = 0.5
"""Seconds a caller waits beyond the script's timeout, to hear how it ended."""
LOOK = 2.0
"""Seconds after which a waiting call looks by itself: the notice of an end can be lost on its way
from another mediator."""
_SIGNAL_EXIT = 128
"""Added to a signal's number, as shells do."""
_WORD = ("test",)
_CALLED_BY_ARGUMENT = frozenset({Kind.CONDITION, Kind.ASSIGNMENT})
"""Kinds that SecureChange tests by the word `test` in place of the ticket id."""
_SMALLEST = {"response": b"<response><condition_result>false</condition_result></response>"}


@dataclass(frozen=True, slots=True)
class Answerer:
    """Answers one hand-over that is already kept."""

    services: Services
    request: web.Request
    script: Script
    test: bool
    """a test by SecureChange's administrator, who wants the truth: there is no fallback"""

    async def answer(
        self, new: NewDelivery, accepted: Accepted, preference: Preference
    ) -> web.StreamResponse:
        """At once for a trigger, with the script's answer otherwise; `Prefer` overrides."""
        if preference.respond_async or (not new.interactive and preference.wait is None):
            return _accepted(accepted, new.script)
        try:
            if new.interactive:
                return await self._script_answer(accepted, preference)
            delivery = await self._wait(accepted.id, preference.wait or 0.0)
            return (
                self._ended(delivery) if delivery.state.ended else _accepted(accepted, new.script)
            )
        except MediatorError as error:
            error.delivery = "" if isinstance(error, Draining) else accepted.id
            raise

    async def _script_answer(
        self, accepted: Accepted, preference: Preference
    ) -> web.StreamResponse:
        try:
            return await self._own_answer(accepted, preference)
        except DeadlineMissed as error:
            return self._instead(accepted, error, Trouble.TIMEOUT)
        except (ScriptFailed, NotReady) as error:
            return self._instead(accepted, error, Trouble.ERROR)

    async def _own_answer(self, accepted: Accepted, preference: Preference) -> web.StreamResponse:
        seconds = preference.patience(self.script.policy.timeout).total_seconds()
        delivery = await self._wait(accepted.id, seconds + LATE)
        if delivery.state.ended:
            return self._ended(delivery)
        if self.services.idle.is_set():
            raise Draining(
                f"The mediator shut down before the script {delivery.script} had answered; try"
                " again in a few seconds."
            )
        return await self._stop(delivery, seconds)

    def _instead(
        self, accepted: Accepted, error: MediatorError, trouble: Trouble
    ) -> web.StreamResponse:
        """The fallback, where the policy has one for this trouble; else the error stands."""
        fallback, stdout = self.script.policy.fallback, self.script.fallback
        if self.test or fallback is None or stdout is None or trouble not in fallback.on:
            raise error
        self.services.metrics.intake.fallback(self.script.name, trouble)
        _log.warning("fallback answered", trouble=str(trouble), reason=error.detail)
        response = raw(stdout, b"", exit_code=0, delivery=accepted.id)
        response.headers["Mediator-Fallback"] = trouble
        return response

    async def _wait(self, delivery_id: str, seconds: float) -> Delivery:
        """The delivery as it is when it has ended, or nothing runs any more, or after `seconds`."""
        services = self.services
        until = services.clock.steady() + seconds
        with services.store.notices.watch(delivery_id) as ended:
            while True:
                ended.clear()
                left = until - services.clock.steady()
                last = left <= 0 or services.idle.is_set()
                # It may have ended before the watch began: a re-sent request, or a quick script.
                delivery = await self._seen(delivery_id, last=last)
                if delivery is not None and (last or delivery.state.ended):
                    return delivery
                await wait_for_any(ended, services.idle, seconds=min(max(left, 0.0), LOOK))

    async def _seen(self, delivery_id: str, *, last: bool) -> Delivery | None:
        """The delivery as it is; None: the store is away, and this is not the `last` look."""
        try:
            return await self.services.store.find(delivery_id)
        except StoreUnavailable:
            if last:
                raise
            return None

    async def _stop(self, delivery: Delivery, seconds: float) -> web.StreamResponse:
        """Nobody waits any more: what still waits or runs is stopped."""
        store, now = self.services.store, self.services.clock.now()
        try:
            await store.cancel(delivery.id, now=now, reason="its caller's deadline passed")
        except Conflict:  # it ended in this very moment
            return self._ended(await store.find(delivery.id))
        raise self._late(delivery, f"within {seconds:g} seconds")

    def _late(self, delivery: Delivery, when: str) -> DeadlineMissed:
        self.services.metrics.intake.missed(delivery.script)
        return DeadlineMissed(
            f"The script {delivery.script} did not answer {when}; it was stopped."
        )

    def _ended(self, delivery: Delivery) -> web.StreamResponse:
        attempt = self._answered(delivery)
        if "application/json" in self.request.headers.get("Accept", ""):
            response = web.json_response(text=document(delivery).model_dump_json())
            response.headers["Mediator-Delivery"] = delivery.id
            return response
        code = _exit_code(attempt)
        if code and self._has_fallback_for_errors:
            raise ScriptFailed(f"The script {delivery.script} failed: {attempt.reason}.")
        return raw(attempt.stdout.kept, attempt.stderr.kept, exit_code=code, delivery=delivery.id)

    @property
    def _has_fallback_for_errors(self) -> bool:
        """Without one, SecureChange is told the exit code itself, and what was printed."""
        fallback = self.script.policy.fallback
        return not self.test and fallback is not None and Trouble.ERROR in fallback.on

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
            raise ScriptFailed(
                f"How the script {delivery.script} ended is unknown: {attempt.reason}."
            )
        if attempt.outcome is Outcome.BAD_ANSWER:
            raise ScriptFailed(f"The script {delivery.script} gave no answer: {attempt.reason}.")
        if attempt.stdout.truncated:
            raise ScriptFailed(
                f"The script {delivery.script} answered {attempt.stdout.size} bytes, more than"
                " limits.output of its policy allows; a cut answer would be a wrong one."
            )
        return attempt


def _past_deadline(delivery: Delivery) -> bool:
    end, deadline = delivery.ended, delivery.expires
    return end is not None and deadline is not None and end >= deadline


def _accepted(accepted: Accepted, script: str) -> web.Response:
    duplicate = accepted.repeat is Repeat.DUPLICATE
    headers = {"Location": f"/v1/deliveries/{accepted.id}", "Mediator-Delivery": accepted.id}
    if duplicate:
        headers["Mediator-Duplicate"] = "true"
    kept = AcceptedDocument(delivery=accepted.id, duplicate=duplicate, script=script)
    return web.json_response(text=kept.model_dump_json(), status=202, headers=headers)


def _exit_code(attempt: Attempt) -> int:
    if attempt.exit_code is None:
        return _SIGNAL_EXIT + (attempt.signal or 0)
    return attempt.exit_code


def raw(stdout: bytes, stderr: bytes, *, exit_code: int, delivery: str = "") -> web.Response:
    """What the shim writes to its own stdout and stderr, and its exit code."""
    headers = {
        "Mediator-Exit-Code": str(exit_code),
        "Mediator-Stdout-Length": str(len(stdout)),
    }
    if delivery:
        headers["Mediator-Delivery"] = delivery
    return web.Response(
        body=stdout + stderr, content_type="application/octet-stream", headers=headers
    )


def is_test_word(script: Script, arguments: tuple[str, ...]) -> bool:
    """Whether the arguments are the word by which SecureChange tests this kind."""
    return script.policy.kind in _CALLED_BY_ARGUMENT and arguments == _WORD


def is_only_checked(script: Script) -> bool:
    """Whether the policy wants a test answered without running the script."""
    return script.policy.test is WhenTested.CHECK


def checked(script: Script) -> web.Response:
    """The answer to a test of a ready script; also for SecureChange to be content with."""
    policy = script.policy
    sentence = (
        f"{script.name} is ready: kind {policy.kind}, timeout {format_duration(policy.timeout)},"
        f" SHA-256 {script.sha256[:12]}. It was checked, not run (policy key test).\n"
    ).encode()
    if not policy.kind.interactive:
        return raw(sentence, b"", exit_code=0)
    return raw(_answer(script), sentence, exit_code=0)


def _answer(script: Script) -> bytes:
    """Something valid: the fallback, or the smallest document of the kind."""
    if script.fallback is not None:
        return script.fallback
    roots = script.policy.answer
    return _SMALLEST.get(roots[0], f"<{roots[0]}/>".encode()) if roots else b""


def state_of(script: Script) -> str:
    """One line for a person."""
    return f"{script.name}: {'ready' if script.ready else script.problem}"
