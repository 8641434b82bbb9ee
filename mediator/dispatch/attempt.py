"""One attempt, from claim to record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from mediator.dispatch.script_lines import ScriptLines
from mediator.dispatch.telling import attempt_span, named, tell_ended
from mediator.dispatch.verdicts import cut_short, judge
from mediator.dispatch.warming import warm_of
from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.attempts import Ended, Outcome
from mediator.model.deliveries import Claim, State, Verdict
from mediator.model.policies import Policy, RunnerName
from mediator.runners.live import LiveOutputs
from mediator.runners.port import LeftRunning, Listener, Run, Runner
from mediator.storage.port import DeliveryStore, Finish
from mediator.tracing.context import TraceContext
from mediator.tracing.port import NoTracer, Tracer

_log = structlog.get_logger()


@dataclass(slots=True)
class Stop:
    """How a running attempt is told to end, and why."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    shutdown: bool = False
    """the daemon goes down: the attempt costs nothing and is made again"""
    outlives: bool = False
    """it goes on without the daemon"""
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    """the daemon, or its right to the attempt, goes away: the attempt is to be let alone"""

    def ask(self, *, shutdown: bool) -> None:
        """End it. An operator's wish is stronger than a shutdown."""
        if shutdown and self.outlives:
            self.leave.set()
            return
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
    tracer: Tracer = field(default_factory=NoTracer)
    log_output: bool = False
    """whether the log gets what scripts write, line by line"""

    async def make(self, claim: Claim, script: Script, stop: Stop) -> None:
        """Run the claimed attempt to its end and record it; returns when it is recorded."""
        with self.live.attempt(claim.delivery.id, claim.number), named(claim):
            await self._make(claim, script, stop)

    async def _make(self, claim: Claim, script: Script, stop: Stop) -> None:
        policy = script.policy
        started = self.clock.now()
        self._starting(claim, started)
        _log.debug("attempt started")
        with attempt_span(self.tracer, claim, started) as span:
            ended = await self._run(claim, script, policy, stop, trace=span.context)
            if ended is None:
                _log.info("attempt left running")
                return
            verdict = self._verdict(ended, claim, policy, stop)
            state = await self._record(claim, ended, verdict, sha256=script.sha256)
            if state is not None and stop.outlives:
                await self.runner.recorded(run_name(claim))
            self._count(claim, ended, state, policy=policy, started=started)
            tell_ended(span, claim, ended, verdict=verdict, state=state)

    async def put_back(self, claim: Claim) -> None:
        """The script is not there to run now: the delivery waits until it is, at no cost."""
        waits = Ended(outcome=Outcome.NOT_STARTED, reason="its script is being replaced; it waits")
        verdict = cut_short(now=self.clock.now(), error=waits.reason)
        with named(claim):
            await self._record(claim, waits, verdict)
            _log.info("attempt put back", reason=waits.reason)

    async def _run(
        self,
        claim: Claim,
        script: Script,
        policy: Policy,
        stop: Stop,
        *,
        trace: TraceContext | None,
    ) -> Ended | None:
        """None: it goes on without this mediator."""
        if stop.event.is_set():  # claimed in the moment of the shutdown
            return Ended(outcome=Outcome.CANCELLED, reason="stopped before it started")
        try:
            run = described(claim, script, policy, self.daemon_environment, trace=trace)
            with self._heard(claim) as heard:
                run = replace(run, on_output=heard, leave=stop.leave)
                ended = await self.runner.run(run, stop=stop.event)
            return checked(ended, policy) if claim.delivery.interactive else ended
        except LeftRunning:
            return None
        except UnsplittableError as error:
            return Ended(outcome=Outcome.NOT_STARTED, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a fault here costs this attempt, not the daemon
            _log.exception("runner failed")
            return Ended(
                outcome=Outcome.LOST,
                reason=f"the mediator itself failed while running it: {type(error).__name__}",
            )

    @contextmanager
    def _heard(self, claim: Claim) -> Iterator[Listener]:
        """Who hears what the attempt writes, as it is written."""
        hold = partial(self.live.write, claim.delivery.id, claim.number)
        if not self.log_output:
            yield hold
            return
        lines = ScriptLines()

        def heard(stream: str, data: bytes) -> None:
            hold(stream, data)
            lines.write(stream, data)

        try:
            yield heard
        finally:
            lines.close()

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


def run_name(claim: Claim) -> str:
    """What the attempt of a claim is called, by this mediator and the next."""
    return f"{claim.delivery.id}-{claim.number}"


def described(
    claim: Claim,
    script: Script,
    policy: Policy,
    daemon: Mapping[str, str],
    *,
    trace: TraceContext | None = None,
) -> Run:
    """The attempt that a claim stands for, completely described; `daemon`: its environment.

    `trace`: what the script's own spans belong to.

    Raises `UnsplittableError` when its arguments are to be split and cannot be.
    """
    delivery = claim.delivery
    elsewhere = policy.runner is RunnerName.KUBERNETES
    program, *before = script.argv
    arguments = delivery.arguments
    if policy.split_arguments:
        arguments = split(arguments)
    return Run(
        name=run_name(claim),
        program=Path(program),
        arguments=(*before, *arguments),
        environment=environment(
            delivery,
            policy,
            number=claim.number,
            daemon=daemon,
            trace=trace,
            elsewhere=elsewhere,
        ),
        stdin=claim.body,
        timeout=policy.timeout.total_seconds(),
        grace=policy.grace.total_seconds(),
        limits=policy.limits,
        warm=warm_of(script, policy),
        pod=policy.kubernetes if elsewhere else None,
        script=script.name,
    )
