"""One attempt, from claim to record, and what the log and the trace have of it.

`AttemptMaker.make` describes the run, has a runner make it, and records how it ended. `Stop` is how
others end it before. In the log every line meanwhile has the ids of the attempt, whichever part
wrote it; what the script writes is there too where `log.script_output` wants it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog
from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer
from structlog.contextvars import bound_contextvars
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter
from tenacity.wait import wait_base

from mediator.catalog.script import Script
from mediator.clock import Clock
from mediator.dispatch.environment import UnsplittableError, environment, split, warm_of
from mediator.dispatch.retry import cut_short, judge
from mediator.errors import StoreUnavailable
from mediator.metrics import Metrics
from mediator.model.answers import problem_of_answer
from mediator.model.delivery import Claim, Delivery, Ended, Fate, Outcome, State, Verdict
from mediator.model.policy import Policy
from mediator.runners.factory import Runners
from mediator.runners.output import LiveOutputs
from mediator.runners.port import LeftRunning, Listener, Run, Runner
from mediator.storage.interface import DeliveryStore, Finish
from mediator.tracing.context import TraceContext, traced
from mediator.tracing.spans import context_of, known, record_past, span_of

LONGEST = 2048
"""Bytes of a line of a script in the log; the rest of a longer one is left out."""
MOST = 200
"""Lines a second of one attempt."""
_log = structlog.get_logger()


@dataclass(slots=True)
class Stop:
    """How a running attempt is told to end, or is let go of, and why."""

    survives_daemon: bool = False
    """its runner's attempts go on without the daemon"""
    event: asyncio.Event = field(default_factory=asyncio.Event)
    """set: it is to end"""
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    """set: it is to be let alone"""
    shutdown: bool = False
    """it is to end because the daemon goes down: it costs nothing and is made again"""
    left_because: str = ""
    """why it is let alone, for a person"""

    def cancel(self) -> None:
        """End it, as an operator wishes, or as its delivery has ended; stronger than a shutdown."""
        self.shutdown = False
        self.event.set()

    def shut_down(self) -> None:
        """The daemon goes down: end it, or let it go on where it can."""
        if self.survives_daemon:
            self._let_alone("the mediator shuts down")
        else:
            self.shutdown = self.shutdown or not self.event.is_set()
            self.event.set()

    def hand_over(self) -> None:
        """Another dispatcher has it, and goes on with it."""
        self._let_alone("another mediator goes on with it")

    def _let_alone(self, why: str) -> None:
        self.left_because = self.left_because or why
        self.leave.set()


Stops = dict[tuple[str, int], Stop]
"""What runs here, by delivery id and attempt number.

A delivery that another dispatcher took over may come back while its old attempt still ends.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptMaker:
    """Runs claims and records how they ended."""

    store: DeliveryStore
    runners: Runners
    metrics: Metrics
    clock: Clock
    daemon_environment: Mapping[str, str]
    live: LiveOutputs = field(default_factory=LiveOutputs)
    """where others see what running attempts write"""
    tracer: Tracer = field(default_factory=NoOpTracer)
    log_output: bool = False
    """whether the log gets what scripts write, line by line"""
    record_wait: wait_base = field(
        default_factory=lambda: wait_exponential_jitter(multiplier=0.1, max=10)
    )
    """how it waits to record an end while the store is away"""

    async def make(self, claim: Claim, script: Script, stop: Stop) -> None:
        """Run the claimed attempt to its end and record it; returns when it is recorded."""
        with self.live.attempt(claim.delivery.id, claim.number), ids_logged(claim):
            await self._make(claim, script, stop)

    async def _make(self, claim: Claim, script: Script, stop: Stop) -> None:
        policy = script.policy
        runner = self.runners.of(policy.runner)
        started = self.clock.now()
        if claim.number == 1:
            self.metrics.attempts.started(claim.delivery, started)
        _log.debug("attempt started")
        with attempt_span(self.tracer, claim, started) as span:
            trace = context_of(span, claim.delivery.trace)
            ended = await self._run(claim, script, runner, stop=stop, trace=trace)
            if ended is None:
                _log.info("attempt left running", reason=stop.left_because)
                return
            verdict = self._verdict(ended, claim, policy, stop=stop)
            state = await self._record(claim, ended, verdict, sha256=script.sha256)
            if state is not None:
                await runner.recorded(run_name(claim))
            self._count(claim, ended, state, policy=policy, started=started)
            log_ended(span, claim, ended, verdict=verdict, state=state)

    async def put_back(self, claim: Claim) -> None:
        """The script is not there to run now: the delivery waits until it is, at no cost."""
        waits = Ended(outcome=Outcome.NOT_STARTED, reason="its script is being replaced; it waits")
        verdict = cut_short(now=self.clock.now(), error=waits.reason)
        with ids_logged(claim):
            await self._record(claim, waits, verdict)
            _log.info("attempt put back", reason=waits.reason)

    async def _run(
        self,
        claim: Claim,
        script: Script,
        runner: Runner,
        *,
        stop: Stop,
        trace: TraceContext | None,
    ) -> Ended | None:
        """None: it goes on without this mediator."""
        if stop.event.is_set():  # claimed in the moment of the shutdown
            return Ended(outcome=Outcome.CANCELLED, reason="stopped before it started")
        try:
            run = described(
                claim, script, script.policy, daemon=self.daemon_environment, trace=trace
            )
            with self._heard(claim) as heard:
                run = replace(run, on_output=heard, leave=stop.leave)
                ended = await runner.run(run, stop=stop.event)
            return checked(ended, claim.delivery, script.policy)
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

    def _verdict(self, ended: Ended, claim: Claim, policy: Policy, *, stop: Stop) -> Verdict:
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
            wait=self.record_wait,
            before_sleep=self._not_recorded,
        )
        return await recording(self.store.finish, finish)

    def _not_recorded(self, call: RetryCallState) -> None:
        problem = call.outcome and call.outcome.exception()
        _log.error("attempt not recorded yet", reason=str(problem), tries=call.attempt_number)

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
    *,
    daemon: Mapping[str, str],
    trace: TraceContext | None = None,
) -> Run:
    """The attempt that a claim stands for, completely described; `daemon`: its environment.

    `trace`: what the script's own spans belong to.

    Raises `UnsplittableError` when its arguments are to be split and cannot be.
    """
    delivery = claim.delivery
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
        ),
        stdin=claim.body,
        timeout=policy.timeout.total_seconds(),
        grace=policy.grace.total_seconds(),
        limits=policy.limits,
        warm=warm_of(script, policy),
        pod=policy.kubernetes if policy.in_pod else None,
        script=script.name,
    )


def checked(ended: Ended, delivery: Delivery, policy: Policy) -> Ended:
    """The same end, or `bad_answer` with the reason when SecureChange could not use the answer.

    Only an interactive script answers, and an exit code other than 0 is an answer by itself and is
    not looked at further.
    """
    if ended.outcome is not Outcome.OK or not delivery.interactive:
        return ended
    stdout = ended.stdout
    if stdout.truncated or stdout.size > policy.limits.output:
        problem = (
            f"it printed {stdout.size} bytes, more than limits.output of its policy allows,"
            " and a cut answer would be a wrong one"
        )
    else:
        problem = problem_of_answer(stdout.kept, roots=policy.answer)
    return replace(ended, outcome=Outcome.BAD_ANSWER, reason=problem) if problem else ended


@contextmanager
def ids_logged(claim: Claim) -> Iterator[None]:
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
        record_past(
            tracer, "delivery waits", parent=parent, began=began, ended=started, facts=facts
        )
    kind = SpanKind.CONSUMER
    with span_of(tracer, "attempt", kind=kind, parent=parent, facts=facts) as span:
        yield span


def log_ended(
    span: Span, claim: Claim, ended: Ended, *, verdict: Verdict, state: State | None
) -> None:
    """One line for the attempt, and one for the delivery if that has ended too."""
    _note(span, ended, state)
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
        _log_delivery(state, interactive=interactive, fields=fields)


def log_fates(fates: Iterable[Fate]) -> None:
    """One line for each delivery that has ended without an attempt having told so."""
    for fate in fates:
        if fate.state.ended:
            fields = {
                "delivery_id": fate.id,
                "ticket_id": fate.ticket_id,
                "script": fate.script,
                "reason": fate.reason,
            }
            _log_delivery(fate.state, interactive=fate.interactive, fields=fields)


def _log_delivery(state: State, *, interactive: bool, fields: Mapping[str, object]) -> None:
    fields = {"state": str(state), **fields}
    if state is State.DEAD and not interactive:
        _log.error("delivery ended", **fields)
    elif state is State.DEAD:  # who waited was told, and can do it again
        _log.warning("delivery ended", **fields)
    else:
        _log.info("delivery ended", **fields)


def _note(span: Span, ended: Ended, state: State | None) -> None:
    facts = {
        "mediator.outcome": str(ended.outcome),
        "mediator.state": None if state is None else str(state),
        "process.exit.code": ended.exit_code,
    }
    span.set_attributes(known(facts))
    if ended.outcome is not Outcome.OK:
        span.set_status(StatusCode.ERROR, ended.reason)


class ScriptLines:
    """Logs what one attempt writes; made where its ids are bound."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ids = structlog.contextvars.get_contextvars()
        self._clock = clock
        self._streams = {name: _LineCutter() for name in ("stdout", "stderr")}
        self._second, self._logged, self._skipped = clock(), 0, 0

    def write(self, stream: str, data: bytes) -> None:
        """Log the lines that this completes."""
        for line, cut in self._streams[stream].lines(data):
            self._log(stream, line, cut=cut)

    def close(self) -> None:
        """Log what is left without a line feed."""
        for name, stream in self._streams.items():
            for line, cut in stream.rest():
                self._log(name, line, cut=cut)
        self._log_skipped()

    def _log(self, stream: str, line: bytes, *, cut: bool) -> None:
        if (now := self._clock()) - self._second >= 1:
            self._log_skipped()
            self._second, self._logged = now, 0
        self._logged += 1
        if self._logged > MOST:
            self._skipped += 1
            return
        text = line.decode("utf-8", "replace")
        _log.info("script output", **{**self._ids, "stream": stream, "line": text, "cut": cut})

    def _log_skipped(self) -> None:
        if self._skipped:
            _log.warning("script output skipped", **{**self._ids, "lines": self._skipped})
        self._skipped = 0


class _LineCutter:
    """Cuts one stream into lines, holding no more than `LONGEST` bytes of an unfinished one."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._cut = False

    def lines(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The lines that are complete now, each with whether something of it is missing."""
        found = []
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._add(part)
            found.append((bytes(self._begun).removesuffix(b"\r"), self._cut))
            self._begun, self._cut = bytearray(), False
        self._add(rest)
        return found

    def rest(self) -> list[tuple[bytes, bool]]:
        """The last line, if it had no end."""
        return self.lines(b"\n") if self._begun or self._cut else []

    def _add(self, part: bytes) -> None:
        room = LONGEST - len(self._begun)
        self._begun += part[:room]
        self._cut = self._cut or len(part) > room
