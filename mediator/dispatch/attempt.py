"""One attempt, from claim to record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from mediator.catalog.scripts import Script
from mediator.clock import Clock
from mediator.dispatch.answering import checked
from mediator.dispatch.arguments import UnsplittableError, split
from mediator.dispatch.environment import environment
from mediator.dispatch.verdicts import cut_short, judge
from mediator.dispatch.warming import warm_of
from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.attempts import Ended, Outcome
from mediator.model.deliveries import Claim, State, Verdict
from mediator.model.policies import Policy
from mediator.runners.live import LiveOutputs
from mediator.runners.port import Run, Runner
from mediator.storage.port import DeliveryStore, Finish

_log = structlog.get_logger()


@dataclass(slots=True)
class Stop:
    """How a running attempt is told to end, and why."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    shutdown: bool = False
    """the daemon goes down: the attempt costs nothing and is made again"""

    def ask(self, *, shutdown: bool) -> None:
        """End it. An operator's wish is stronger than a shutdown."""
        self.shutdown = shutdown and (self.shutdown or not self.event.is_set())
        self.event.set()


Stops = dict[tuple[str, int], Stop]
"""What runs here, by delivery id and attempt number.

A delivery that another dispatcher took over may come back while its old attempt still ends.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptMaker:
    """Runs claims and records how they ended."""

    store: DeliveryStore
    runner: Runner
    metrics: Metrics
    clock: Clock
    daemon_environment: Mapping[str, str]
    live: LiveOutputs = field(default_factory=LiveOutputs)
    """where others see what running attempts write"""

    async def make(self, claim: Claim, script: Script, stop: Stop) -> None:
        """Run the claimed attempt to its end and record it; returns when it is recorded."""
        with self.live.attempt(claim.delivery.id, claim.number):
            await self._make(claim, script, stop)

    async def _make(self, claim: Claim, script: Script, stop: Stop) -> None:
        log = _bound(claim)
        policy = script.policy
        started = self.clock.now()
        self._starting(claim, started)
        log.info("attempt started")
        ended = await self._run(claim, script, policy, stop)
        verdict = self._verdict(ended, claim, policy, stop)
        state = await self._record(claim, ended, verdict, sha256=script.sha256)
        self._count(claim, ended, state, policy=policy, started=started)
        _tell(log, ended, verdict, state)

    async def put_back(self, claim: Claim) -> None:
        """The script is not there to run now: the delivery waits until it is, at no cost."""
        waits = Ended(outcome=Outcome.NOT_STARTED, reason="its script is being replaced; it waits")
        verdict = cut_short(now=self.clock.now(), error=waits.reason)
        await self._record(claim, waits, verdict)
        _bound(claim).info("attempt put back", reason=waits.reason)

    async def _run(self, claim: Claim, script: Script, policy: Policy, stop: Stop) -> Ended:
        if stop.event.is_set():  # claimed in the moment of the shutdown
            return Ended(outcome=Outcome.CANCELLED, reason="stopped before it started")
        try:
            run = described(claim, script, policy, self.daemon_environment)
            heard = partial(self.live.write, claim.delivery.id, claim.number)
            ended = await self.runner.run(replace(run, on_output=heard), stop=stop.event)
            return checked(ended, policy) if claim.delivery.interactive else ended
        except UnsplittableError as error:
            return Ended(outcome=Outcome.NOT_STARTED, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a fault here costs this attempt, not the daemon
            _bound(claim).exception("runner failed")
            return Ended(
                outcome=Outcome.LOST,
                reason=f"the mediator itself failed while running it: {type(error).__name__}",
            )

    def _verdict(self, ended: Ended, claim: Claim, policy: Policy, stop: Stop) -> Verdict:
        now = self.clock.now()
        if ended.outcome is Outcome.CANCELLED and stop.shutdown:
            return cut_short(now=now)
        return judge(ended, claim.delivery, policy, now=now)

    async def _record(
        self, claim: Claim, ended: Ended, verdict: Verdict, *, sha256: str = ""
    ) -> State | None:
        """Record it, however long the store is away: the script has run, and this is the proof.

        The state of the delivery then; None when another dispatcher has taken it over.
        """
        finish = Finish(
            delivery_id=claim.delivery.id,
            owner=claim.owner,
            number=claim.number,
            at=self.clock.now(),
            ended=ended,
            verdict=verdict,
            script_sha256=sha256,
        )
        recording = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=wait_exponential_jitter(multiplier=0.1, max=10),
            before_sleep=self._not_recorded,
        )
        return await recording(self.store.finish, finish)

    def _not_recorded(self, call: RetryCallState) -> None:
        problem = call.outcome and call.outcome.exception()
        _log.error("attempt not recorded yet", reason=str(problem), tries=call.attempt_number)

    def _starting(self, claim: Claim, started: datetime) -> None:
        if claim.number == 1:
            self.metrics.attempts.started(claim.delivery, started)

    def _count(
        self,
        claim: Claim,
        ended: Ended,
        state: State | None,
        *,
        policy: Policy,
        started: datetime,
    ) -> None:
        now = self.clock.now()
        seconds = (now - started).total_seconds()
        self.metrics.attempts.attempted(claim.delivery, ended, policy=policy, seconds=seconds)
        if state is not None and state.ended:
            self.metrics.attempts.ended(claim.delivery, state, now)


def _bound(claim: Claim) -> structlog.typing.FilteringBoundLogger:
    delivery = claim.delivery
    return _log.bind(  # type: ignore[no-any-return]
        delivery_id=delivery.id,
        ticket_id=delivery.ticket.id,
        script=delivery.script,
        attempt=claim.number,
    )


def described(claim: Claim, script: Script, policy: Policy, daemon: Mapping[str, str]) -> Run:
    """The attempt that a claim stands for, completely described; `daemon`: its environment.

    Raises `UnsplittableError` when its arguments are to be split and cannot be.
    """
    delivery = claim.delivery
    program, *before = script.argv
    arguments = delivery.arguments
    if policy.split_arguments:
        arguments = split(arguments)
    return Run(
        name=f"{delivery.id}-{claim.number}",
        program=Path(program),
        arguments=(*before, *arguments),
        environment=environment(delivery, policy, number=claim.number, daemon=daemon),
        stdin=claim.body,
        timeout=policy.timeout.total_seconds(),
        grace=policy.grace.total_seconds(),
        limits=policy.limits,
        warm=warm_of(script, policy),
    )


def _tell(
    log: structlog.typing.FilteringBoundLogger, ended: Ended, verdict: Verdict, state: State | None
) -> None:
    fields = {"outcome": str(ended.outcome), "exit_code": ended.exit_code}
    if state is None:
        log.warning("attempt ended, but it was no longer ours", **fields)
    elif ended.outcome is Outcome.OK:
        log.info("attempt ended", **fields, state=str(state))
    else:
        due = verdict.due.isoformat() if verdict.due and state is verdict.state else None
        log.warning(
            "attempt ended", **fields, state=str(state), reason=ended.reason, next_attempt=due
        )
