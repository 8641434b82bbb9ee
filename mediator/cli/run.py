"""`mediator run`: one attempt of a script in the foreground, as in production."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import typer
import uuid_utils

from mediator import logs
from mediator.catalog.directory import ScriptsDirectory
from mediator.catalog.environments.preparing import equipped
from mediator.catalog.scripts import Script
from mediator.cli import options
from mediator.cli.calling import query_of, read_ticket_file, write_streams
from mediator.cli.foreground import make
from mediator.cli.foretelling import Foretold, foretell
from mediator.cli.prepare import builder_of
from mediator.cli.printing import AsJson, say, show_json
from mediator.clock import SystemClock
from mediator.dispatch.attempt import described
from mediator.errors import NotReady, TooLarge
from mediator.model.deliveries import Claim, Delivery, State, TicketFields
from mediator.model.tickets import Ticket, read_ticket
from mediator.settings.tree import LogLevel, Settings
from mediator.web.handover import Call, read_query

_TEST = "TEST"
"""The event of SecureChange's Test button, which sends `<ticket_info/>` whatever the kind."""

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: mediator run notify.py --ticket ticket.xml --event ADVANCE -- -v")
def run(
    script: options.ScriptName,
    arguments: options.Arguments = None,
    *,
    ticket: options.TicketFile = None,
    event: options.Event = "CREATE",
    variables: options.Variables = None,
    as_json: AsJson = False,
    config: options.Config = None,
) -> None:
    """Run a script once, here, as the mediator would.

    Its environment, limits, timeout and working directory are those of
    production. Needs no running mediator and no secrets, and stores nothing.
    What it prints is passed on, then one line on stderr says how it ended and
    what the mediator would do next. Exits as the script does; with 128 and the
    number of the signal when one ended it. Ctrl-C stops it, twice kills it.
    """
    loaded = options.settings(config)
    logs.configure(level=LogLevel.ERROR, as_json=False)
    found = find_script(loaded, script)
    call = read_query(query_of(event, variables, arguments))
    body = read_ticket_file(ticket)
    delivery = delivered(found, call, _checked(body, found, call, loaded))
    claim = Claim(delivery=delivery, body=body, owner="")
    made = asyncio.run(make(described(claim, found, found.policy, os.environ)))
    foretold = foretell(made, delivery, found.policy, now=SystemClock().now())
    _tell(found, foretold, as_json=as_json)
    raise typer.Exit(foretold.exit_code)


def find_script(settings: Settings, name: str) -> Script:
    """The script of that name, or of that path in the scripts directory. Raises `NotReady`."""
    directory = settings.scripts.directory
    path = Path(name)
    if "/" in name and path.parent.resolve() == directory.resolve():
        name = path.name  # as the shell completes it
    found = ScriptsDirectory(settings=settings).load().find(name)
    script = asyncio.run(equipped(found, builder_of(settings)))
    if not script.ready:
        raise NotReady(f"the script {script.name} is not ready: {script.problem}")
    return script


def _checked(body: bytes, script: Script, call: Call, settings: Settings) -> Ticket:
    """The ticket, refused as intake would refuse it. Raises `NotATicket` or `TooLarge`."""
    limit = settings.http.body_limit
    if len(body) > limit:
        raise TooLarge(f"the ticket is larger than {limit} bytes, which is http.body_limit.")
    roots = script.policy.roots
    return read_ticket(body, roots=(*roots, "ticket_info") if call.event == _TEST else roots)


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


def _tell(script: Script, foretold: Foretold, *, as_json: bool) -> None:
    ended = foretold.made.ended
    if as_json:
        show_json(_document(script, foretold))
        return
    write_streams(ended.stdout.kept, ended.stderr.kept)
    say(f"{script.name}: {foretold.sentence}")


def _document(script: Script, foretold: Foretold) -> dict[str, Any]:
    ended, verdict = foretold.made.ended, foretold.verdict
    return {
        "script": script.name,
        "outcome": ended.outcome,
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "seconds": round(foretold.made.seconds, 3),
        "reason": ended.reason,
        "stdout": ended.stdout.kept.decode("utf-8", "replace"),
        "stderr": ended.stderr.kept.decode("utf-8", "replace"),
        "state": verdict.state,
        "due": None if verdict.due is None else verdict.due.isoformat(),
        "follows": foretold.follows,
    }
