"""A script tried out here: found, equipped, given a ticket, run as in production, and reported on.

What intake and the dispatcher decide is decided by their own functions: which ticket is taken, who
waits for the answer, how the script is called, whether it answered, and what would follow. Only
storing it is left out, so the report says what the mediator would do (a dry run).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from mediator.catalog.environments.builder import equipped
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Script
from mediator.cli.failures import FAILED
from mediator.cli.options import read_ticket_file, script_named
from mediator.cli.prepare import builder_of
from mediator.clock import SystemClock
from mediator.dispatch.attempt import checked, described
from mediator.dispatch.retry import judge
from mediator.errors import NotReady
from mediator.model.delivery import Claim, Delivery, Ended, NewDelivery, Outcome, State, Verdict
from mediator.model.policy import Policy, RunnerName
from mediator.runners.port import Run
from mediator.runners.prefork import Parents
from mediator.runners.process import ProcessRunner
from mediator.settings.schema import Settings
from mediator.web.intake import delivery_to
from mediator.web.request import Call, HandOver, Preference, Sender, refuse_too_large

_NOBODY = Sender(id="", key=None)
_ALL_OUTPUT = 2**40
"""Bytes; no script prints so much, so nothing of what it prints is left out."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNAL = 128
"""Added to a signal's number, as shells do."""
_CANNOT_EXECUTE = 126
"""What shells say of a command that is there and cannot be executed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is tried: which script, and with what."""

    settings: Settings
    name: str
    """the script's name, or its path in the scripts directory"""
    call: Call
    ticket: str | None = None
    """a file, `-` for standard input, None for an empty body"""

    async def prepared(self) -> PreparedTrial:
        """Read everything anew, and have its environment built if need be.

        Raises `NotFound`, `NotReady`, `NotATicket`, `TooLarge` or `Failure`.
        """
        script = await found_script(self.settings, self.name)
        new = await self._handed_over(script)
        claim = Claim(delivery=new.at_first_attempt(), body=new.body, owner="")
        run = described(claim, script, _here(script.policy), daemon=os.environ)
        return PreparedTrial(script=script, delivery=claim.delivery, run=run)

    async def _handed_over(self, script: Script) -> NewDelivery:
        """What intake would keep. Raises `NotATicket` or `TooLarge`, as intake does."""
        body = read_ticket_file(self.ticket)
        refuse_too_large(len(body), self.settings.http.body_limit)
        hand_over = HandOver(sender=_NOBODY, idempotency_key="", call=self.call, body=body)
        return delivery_to(
            script,
            hand_over,
            await hand_over.ticket(script.policy.roots),
            preference=Preference(),
            now=SystemClock().now(),
            deduplicate=timedelta(0),
        )


async def found_script(settings: Settings, name: str) -> Script:
    """The script, ready to run. Raises `NotFound` or `NotReady`."""
    catalog = await asyncio.to_thread(ScriptsDirectory(settings=settings).load)
    script = await equipped(script_named(catalog, name), builder_of(settings))
    if not script.ready:
        raise NotReady(f"the script {script.name} is not ready: {script.problem}")
    return script


def _here(policy: Policy) -> Policy:
    """What is tried out runs on this machine, also what is to run in a cluster."""
    if not policy.in_pod:
        return policy
    return policy.model_copy(update={"runner": RunnerName.PROCESS})


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedTrial:
    """An attempt that can be made."""

    script: Script
    delivery: Delivery
    run: Run

    async def make(
        self, foreground: Foreground, *, pass_through: PassThrough | None
    ) -> DryRunReport:
        """Make it, and judge it as the dispatcher would. `pass_through` gets what it writes."""
        if pass_through is None:
            made = await foreground.make(self.run, stop=asyncio.Event())
        else:
            run = replace(self.run, on_output=pass_through.write)
            made = await foreground.make(run, stop=pass_through.stop)
        return report(made, self.delivery, self.script.policy, now=SystemClock().now())


@dataclass(kw_only=True, slots=True)
class PassThrough:
    """Passes on what a script writes, byte for byte, as it comes."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """ends the script: also when nobody reads what it writes"""
    unread: bool = False

    def write(self, stream: str, data: bytes) -> None:
        """Write it to the command's own stream of that name."""
        out = sys.stdout if stream == "stdout" else sys.stderr
        try:
            out.buffer.write(data)
            out.flush()
        except BrokenPipeError:
            self.unread = True
            self.stop.set()

    def refuse_unread(self) -> None:
        """Raise `BrokenPipeError` when nobody read it."""
        if self.unread:
            raise BrokenPipeError


@asynccontextmanager
async def foreground() -> AsyncIterator[Foreground]:
    """Make attempts, in directories that are gone afterwards. Raises `SettingsError`."""
    with tempfile.TemporaryDirectory(prefix="mediator-run-") as directory:
        parents = Parents()
        runner = ProcessRunner(Path(directory), parents=parents)
        await runner.start()
        try:
            yield Foreground(runner, parents)
        finally:
            await runner.close()


class Foreground:
    """Makes attempts by the runner of production until the person has enough.

    The first Ctrl-C ends the running script as a time-out would, the second kills it.
    """

    def __init__(self, runner: ProcessRunner, parents: Parents) -> None:
        self.stopped = asyncio.Event()
        """the person wants no more"""
        self._runner = runner
        self._parents = parents
        self._stopped_by: signal.Signals | None = None
        self._stops: set[asyncio.Event] = set()
        self._killing: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, self._asked_to_stop, number)

    async def make(self, run: Run, *, stop: asyncio.Event) -> ForegroundAttempt:
        """Run it to its end; `stop` ends it before, as Ctrl-C does."""
        limits = run.limits.model_copy(update={"output": _ALL_OUTPUT})
        if self.stopped.is_set():
            stop.set()
        self._stops.add(stop)
        await self._parents.prepare(run)  # so that it runs as it does in a mediator
        started = time.monotonic()
        try:
            ended = await self._runner.run(replace(run, limits=limits), stop=stop)
        finally:
            self._stops.discard(stop)
        seconds = time.monotonic() - started
        if self._killing is not None:
            await self._killing
        return ForegroundAttempt(ended=ended, seconds=seconds, stopped_by=self._stopped_by)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopped_by is None:
            self._stopped_by = number
            self.stopped.set()
            for stop in self._stops:
                stop.set()
        elif self._killing is None:
            self._killing = asyncio.create_task(self._runner.close(), name="kill the script")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForegroundAttempt:
    """An attempt that was made."""

    ended: Ended
    """with the whole output, whatever the policy keeps of it"""
    seconds: float
    stopped_by: signal.Signals | None = None
    """the signal that the person sent, not to the script but to this command"""


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRunReport:
    """How an attempt ended, and what the mediator would do next."""

    attempt: ForegroundAttempt
    verdict: Verdict
    follows: str
    """what the mediator would do next, as the end of a sentence"""

    @property
    def exit_code(self) -> int:
        """The script's own, or what a shell would say; a script that was stopped is no success."""
        ended, stopped_by = self.attempt.ended, self.attempt.stopped_by
        if stopped_by is not None and ended.outcome is Outcome.CANCELLED:
            return _SIGNAL + stopped_by
        if ended.outcome is Outcome.NOT_STARTED:
            return _CANNOT_EXECUTE
        if ended.signal is not None:
            return _SIGNAL + ended.signal
        if ended.outcome is Outcome.TIMEOUT:
            return ended.exit_code or _SIGNAL + signal.SIGTERM
        return FAILED if ended.exit_code is None else ended.exit_code

    @property
    def sentence(self) -> str:
        """How it ended, how long it took, and what would follow."""
        ended = self.attempt.ended
        parts = [f"{ended.outcome}, exit code {self.exit_code}, {self.attempt.seconds:.2f} s"]
        # Of a failure the exit code says it, of a bad answer what follows.
        if ended.reason and ended.outcome not in {Outcome.FAILED, Outcome.BAD_ANSWER}:
            parts.append(ended.reason)
        if ended.leftovers:
            parts.append(f"{ended.leftovers} processes that it left behind were killed")
        return f"{', '.join(parts)}; {self.follows}"


def report(
    made: ForegroundAttempt, delivery: Delivery, policy: Policy, *, now: datetime
) -> DryRunReport:
    """Judge the attempt as the dispatcher would."""
    ended = checked(made.ended, delivery, policy)
    verdict = judge(ended, delivery, policy, now=now)
    if ended.outcome is Outcome.CANCELLED:
        follows = "you stopped it"
    elif delivery.interactive:
        follows = _heard(ended, policy)
    else:
        follows = _next(verdict, delivery, policy) + _cut(ended, policy)
    return DryRunReport(attempt=replace(made, ended=ended), verdict=verdict, follows=follows)


def _next(verdict: Verdict, delivery: Delivery, policy: Policy) -> str:
    if verdict.state is State.SUCCEEDED:
        return "the mediator would be done"
    if verdict.due is not None:
        at = verdict.due.astimezone().strftime("%H:%M:%S")
        number = f"attempt {delivery.attempts_made + 1} of {policy.retry.attempts}"
        return f"the mediator would try again at about {at}, as {number}"
    return f"the mediator would give up, and the delivery be dead: {verdict.error}"


def _heard(ended: Ended, policy: Policy) -> str:
    """What the person hears who waits in SecureChange."""
    if ended.outcome is Outcome.TIMEOUT:
        return "SecureChange would hear that it ran out of time"
    if ended.outcome in {Outcome.NOT_STARTED, Outcome.LOST}:
        return "SecureChange would hear that it could not be run"
    if ended.stdout.size > policy.limits.output:
        return (
            f"SecureChange would get no answer: it printed {ended.stdout.size} bytes, more than the"
            f" {policy.limits.output} of limits.output in its policy"
        )
    if ended.outcome is Outcome.BAD_ANSWER:
        return f"SecureChange could not use the answer: {ended.reason}"
    return "SecureChange would get this answer"


def _cut(ended: Ended, policy: Policy) -> str:
    if max(ended.stdout.size, ended.stderr.size) <= policy.limits.output:
        return ""
    return f"; of its output the mediator keeps {policy.limits.output} bytes (limits.output)"
