"""`mediator run`: one attempt of a script in the foreground, as in production."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from mediator import logs
from mediator.catalog.script import Script
from mediator.cli import options
from mediator.cli.output import AsJson, say, show_json
from mediator.cli.trial import DryRunReport, PassThrough, Trial, foreground
from mediator.settings.schema import LogLevel
from mediator.web.request import read_query

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
    What it prints is passed on as it comes; then one line on stderr says how it
    ended and what the mediator would do next. Exits as the script does; with 128
    and the number of the signal when one ended it. Ctrl-C stops it, twice kills
    it.
    """
    loaded = options.settings(config)
    logs.configure(level=LogLevel.ERROR, as_json=False)
    call = read_query(options.query_of(event, variables, arguments))
    trial = Trial(settings=loaded, name=script, call=call, ticket=ticket)
    found, report = asyncio.run(_make(trial, live=not as_json))
    if as_json:
        show_json(_document(found, report))
    else:
        say(f"{found.name}: {report.sentence}")
    raise typer.Exit(report.exit_code)


async def _make(trial: Trial, *, live: bool) -> tuple[Script, DryRunReport]:
    prepared = await trial.prepared()
    pass_through = PassThrough() if live else None
    async with foreground() as here:
        report = await prepared.make(here, pass_through=pass_through)
    if pass_through is not None:
        pass_through.refuse_unread()
    return prepared.script, report


def _document(script: Script, report: DryRunReport) -> dict[str, Any]:
    ended, verdict = report.attempt.ended, report.verdict
    return {
        "script": script.name,
        "outcome": ended.outcome,
        "exit_code": ended.exit_code,
        "signal": ended.signal,
        "seconds": round(report.attempt.seconds, 3),
        "reason": ended.reason,
        "stdout": ended.stdout.kept.decode("utf-8", "replace"),
        "stderr": ended.stderr.kept.decode("utf-8", "replace"),
        "state": verdict.state,
        "due": None if verdict.due is None else verdict.due.isoformat(),
        "follows": report.follows,
    }
