"""A script tried out here: found, equipped, given a ticket, and run as in production."""

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
from datetime import datetime
from pathlib import Path

import uuid_utils

from mediator.catalog.environments.builder import equipped
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Catalog, Script
from mediator.cli.client import read_ticket_file
from mediator.cli.failures import FAILED
from mediator.cli.prepare import builder_of
from mediator.clock import SystemClock
from mediator.dispatch.attempt import described
from mediator.dispatch.retry import judge
from mediator.errors import NotReady, TooLarge
from mediator.model.answers import problem_of_answer
from mediator.model.delivery import Claim, Delivery, Ended, Outcome, State, TicketFields, Verdict
from mediator.model.policy import Policy, RunnerName
from mediator.model.ticket import Ticket, read_ticket
from mediator.runners.port import Run
from mediator.runners.preforked import Parents
from mediator.runners.process import ProcessRunner
from mediator.settings.schema import Settings
from mediator.web.request import Call

_TEST = "TEST"
"""The event of SecureChange's Test button, which sends `<ticket_info/>` whatever the kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is tried: which script, and with what."""

    settings: Settings
    name: str
    """the script's name, or its path in the scripts directory"""
    call: Call
    ticket: str | None = None
    """a file, `-` for standard input, None for an empty body"""

    async def prepared(self) -> Prepared:
        """Read everything anew, and have its environment built if need be.

        Raises `NotFound`, `NotReady`, `NotATicket`, `TooLarge` or `Failure`.
        """
        script = await found_script(self.settings, self.name)
        body = read_ticket_file(self.ticket)
        delivery = delivered(script, self.call, self._checked(body, script))
        claim = Claim(delivery=delivery, body=body, owner="")
        run = described(claim, script, _here(script.policy), daemon=os.environ)
        return Prepared(script=script, delivery=delivery, run=run)

    def _checked(self, body: bytes, script: Script) -> Ticket:
        """The ticket, refused as intake would refuse it. Raises `NotATicket` or `TooLarge`."""
        limit = self.settings.http.body_limit
        if len(body) > limit:
            raise TooLarge(f"the ticket is larger than {limit} bytes, which is http.body_limit.")
        roots = script.policy.roots
        return read_ticket(
            body, roots=(*roots, "ticket_info") if self.call.event == _TEST else roots
        )


def _here(policy: Policy) -> Policy:
    """What is tried out runs on this machine, also what is to run in a cluster."""
    if policy.runner is not RunnerName.KUBERNETES:
        return policy
    return policy.model_copy(update={"runner": RunnerName.PROCESS})


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An attempt that can be made."""

    script: Script
    delivery: Delivery
    run: Run

    async def make(self, foreground: Foreground, *, passing: Passing | None) -> Foretold:
        """Make it, and judge it as the dispatcher would. `passing` hears what it writes."""
        stop = asyncio.Event() if passing is None else passing.stop
        run = self.run if passing is None else replace(self.run, on_output=passing.write)
        made = await foreground.make(run, stop=stop)
        return foretell(made, self.delivery, self.script.policy, now=SystemClock().now())


@dataclass(kw_only=True, slots=True)
class Passing:
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


def named(catalog: Catalog, name: str) -> Script:
    """The script of that name, or of that path in the scripts directory. Raises `NotFound`."""
    path = Path(name)
    if "/" in name and path.parent.resolve() == catalog.directory.resolve():
        name = path.name  # as the shell completes it
    return catalog.find(name)


async def found_script(settings: Settings, name: str) -> Script:
    """The script, ready to run. Raises `NotFound` or `NotReady`."""
    catalog = await asyncio.to_thread(ScriptsDirectory(settings=settings).load)
    script = await equipped(named(catalog, name), builder_of(settings))
    if not script.ready:
        raise NotReady(f"the script {script.name} is not ready: {script.problem}")
    return script


def delivered(script: Script, call: Call, ticket: Ticket) -> Delivery:
    """The delivery that the store would hold when its first attempt starts."""
    now = SystemClock().now()
    test = call.event == _TEST or (not call.event and ticket.is_test_button)
    return Delivery(
        seq=1,
        id=str(uuid_utils.uuid7()),
        script=script.name,
        event=call.event,
        arguments=call.arguments,
        variables=call.variables,
        ticket=TicketFields(
            id=ticket.id,
            subject=ticket.subject,
            priority=ticket.priority,
            step=ticket.step,
            requester=ticket.requester,
        ),
        interactive=script.policy.kind.interactive or test,
        state=State.RUNNING,
        received=now,
        due=None,
        ended=None,
        expires=None,
        key_id="",
        budget_start=now,
        attempts_made=1,
        failures=0,
        losses=0,
        last_error="",
    )


# Attempts in the foreground: the runner of production, stopped by Ctrl-C.

_ALL_OUTPUT = 2**40
"""Bytes; no script prints so much, so nothing of what it prints is left out."""
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """An attempt that was made."""

    ended: Ended
    """with the whole output, whatever the policy keeps of it"""
    seconds: float
    stopped_by: signal.Signals | None = None
    """the signal that the person sent, not to the script but to this command"""


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
    """Makes attempts until the person has enough.

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

    async def make(self, run: Run, *, stop: asyncio.Event) -> Made:
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
        return Made(ended=ended, seconds=seconds, stopped_by=self._stopped_by)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopped_by is None:
            self._stopped_by = number
            self.stopped.set()
            for stop in self._stops:
                stop.set()
        elif self._killing is None:
            self._killing = asyncio.create_task(self._runner.close(), name="kill the script")


# What the mediator would do after an attempt that was made in the foreground, and in words.

_SIGNAL = 128
"""Added to a signal's number, as shells do."""
_CANNOT_EXECUTE = 126
"""What shells say of a command that is there and cannot be executed."""
_SIGTERM = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Foretold:
    """An attempt, and what would follow it."""

    made: Made
    verdict: Verdict
    follows: str
    """what the mediator would do next, as the end of a sentence"""

    @property
    def exit_code(self) -> int:
        """The script's own, or what a shell would say; 0 only when the attempt was a success."""
        ended = self.made.ended
        if self.made.stopped_by is not None and ended.outcome is Outcome.CANCELLED:
            return _SIGNAL + self.made.stopped_by
        if ended.outcome is Outcome.NOT_STARTED:
            return _CANNOT_EXECUTE
        if ended.signal is not None:
            return _SIGNAL + ended.signal
        if ended.outcome is Outcome.TIMEOUT:
            return ended.exit_code or _SIGNAL + _SIGTERM
        return FAILED if ended.exit_code is None else ended.exit_code

    @property
    def sentence(self) -> str:
        """How it ended, how long it took, and what would follow."""
        ended = self.made.ended
        parts = [f"{ended.outcome}, exit code {self.exit_code}, {self.made.seconds:.2f} s"]
        if ended.outcome is not Outcome.FAILED and ended.reason:
            parts.append(ended.reason)
        if ended.leftovers:
            parts.append(f"{ended.leftovers} processes that it left behind were killed")
        return f"{', '.join(parts)}; {self.follows}"


def foretell(made: Made, delivery: Delivery, policy: Policy, *, now: datetime) -> Foretold:
    """Judge the attempt as the dispatcher would."""
    verdict = judge(made.ended, delivery, policy, now=now)
    if made.ended.outcome is Outcome.CANCELLED:
        follows = "you stopped it"
    elif delivery.interactive:
        follows = _answered(made, policy)
    else:
        follows = _next(verdict, delivery, policy) + _cut(made, policy)
    return Foretold(made=made, verdict=verdict, follows=follows)


def _next(verdict: Verdict, delivery: Delivery, policy: Policy) -> str:
    if verdict.state is State.SUCCEEDED:
        return "the mediator would be done"
    if verdict.due is not None:
        time = verdict.due.astimezone().strftime("%H:%M:%S")
        number = f"attempt {delivery.attempts_made + 1} of {policy.retry.attempts}"
        return f"the mediator would try again at about {time}, as {number}"
    return f"the mediator would give up, and the delivery be dead: {verdict.error}"


def _answered(made: Made, policy: Policy) -> str:
    ended = made.ended
    if ended.outcome is Outcome.TIMEOUT:
        return "SecureChange would hear that it ran out of time"
    if ended.outcome in {Outcome.NOT_STARTED, Outcome.LOST}:
        return "SecureChange would hear that it could not be run"
    if ended.stdout.size > policy.limits.output:
        return (
            f"SecureChange would get no answer: it printed {ended.stdout.size} bytes, more than the"
            f" {policy.limits.output} of limits.output in its policy"
        )
    problem = problem_of_answer(ended.stdout.kept, roots=policy.answer)
    if problem and ended.outcome is Outcome.OK:
        return f"SecureChange could not use the answer: {problem}"
    return "SecureChange would get this answer"


def _cut(made: Made, policy: Policy) -> str:
    largest = max(made.ended.stdout.size, made.ended.stderr.size)
    if largest <= policy.limits.output:
        return ""
    return f"; of its output the mediator keeps {policy.limits.output} bytes (limits.output)"
