"""A script tried out here: found, equipped, given a ticket, and run as in production."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import uuid_utils

from mediator.catalog.directory import ScriptsDirectory
from mediator.catalog.environments.preparing import equipped
from mediator.catalog.scripts import Catalog, Script
from mediator.cli.calling import read_ticket_file
from mediator.cli.foreground import Foreground
from mediator.cli.foretelling import Foretold, foretell
from mediator.cli.prepare import builder_of
from mediator.clock import SystemClock
from mediator.dispatch.attempt import described
from mediator.errors import NotReady, TooLarge
from mediator.model.deliveries import Claim, Delivery, State, TicketFields
from mediator.model.policies import Policy, RunnerName
from mediator.model.tickets import Ticket, read_ticket
from mediator.runners.port import Run
from mediator.settings.tree import Settings
from mediator.web.handover import Call

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
        run = described(claim, script, _here(script.policy), os.environ)
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
