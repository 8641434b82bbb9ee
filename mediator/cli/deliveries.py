"""`mediator deliveries`: what was handed over to a running mediator, and what became of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mediator.cli import finding, options, printing
from mediator.cli.acting import CANCEL, RETRY, Wish, act
from mediator.cli.client import connect
from mediator.cli.delivery_news import follow_list, follow_output
from mediator.cli.delivery_tables import COMFORTABLE, listing, stacked, whole
from mediator.cli.printing import AsJson, say, show, show_json
from mediator.cli.target import Target, find_target
from mediator.model.deliveries import State

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, show, retry and cancel the deliveries of a running mediator.",
)
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of deliveries.")]
Script = Annotated[str | None, typer.Option("--script", metavar="NAME", help="Of this script.")]
Event = Annotated[str | None, typer.Option("--event", metavar="EVENT", help="Only of this event.")]
OfState = Annotated[State | None, typer.Option("--state", help="Only in this state.")]
Ticket = Annotated[str | None, typer.Option("--ticket", metavar="ID", help="Only of this ticket.")]
_ID = "019ac3f2-7d1e-7c44-9d0b-2f6a5e8b1c3d"  # in examples
_WHEN = "such as 2h or 2026-01-31T08:00"
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help=f"Received since, {_WHEN}.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help=f"Received before, {_WHEN}.")
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]
Most = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only the newest so many.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
All = Annotated[bool, typer.Option("--all", help="All there are, whatever --limit says.")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Go on with what is new, until Ctrl-C.")
]
FollowOutput = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Print what its script writes, until it has ended."),
]


@app.command("list", epilog="Example: mediator deliveries list --state dead --since 24h")
def list_(  # noqa: PLR0913 - one parameter an option
    *,
    script: Script = None,
    event: Event = None,
    state: OfState = None,
    ticket: Ticket = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    everything: All = False,
    follow: Follow = False,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """List deliveries, the newest first.

    With --follow the oldest first, then a line for each new one and each change
    of those that were printed.
    """
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    query = _query(script, event, state, ticket, since=since, until=until)
    if follow:
        asyncio.run(follow_list(target, query, limit=limit, as_json=as_json))
        return
    found = asyncio.run(finding.search(target, query, None if everything else limit))
    if as_json:
        show_json(found)
        return
    form = stacked if printing.narrow(below=COMFORTABLE) else listing
    show(*form(found["items"], now=datetime.now(UTC)))
    if found["next"] is not None:
        say(f"these are the newest {len(found['items'])}; there may be more: --all or --limit")


@app.command("show", epilog=f"Example: mediator deliveries show {_ID}")
def show_(
    delivery_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a delivery.")],
    *,
    follow: FollowOutput = False,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """Show one delivery with all its attempts and what they printed.

    With --follow what its latest attempt has written and goes on to write, and
    the attempts after that, until the delivery has ended.
    """
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    if follow:
        asyncio.run(follow_output(target, delivery_id, as_json=as_json))
        return
    document = asyncio.run(_show(target, delivery_id))
    if as_json:
        show_json(document)
    else:
        show(*whole(document))


@app.command(epilog="Example: mediator deliveries retry --script notify.py --since 2h")
def retry(  # noqa: PLR0913 - one parameter an option
    delivery_ids: Ids = None,
    *,
    script: Script = None,
    event: Event = None,
    state: OfState = None,
    ticket: Ticket = None,
    since: Since = None,
    until: Until = None,
    limit: Most = None,
    yes: Yes = False,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """Make deliveries due now, with a fresh budget of attempts.

    Those with these ids, or all dead ones that the options say; --state says
    another state. Each is told on a line of its own. Needs a token with the role
    operator.
    """
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    query = _query(script, event, state, ticket, since=since, until=until)
    wish = Wish(ids=delivery_ids or (), query=query, limit=limit, yes=yes, as_json=as_json)
    act(target, RETRY, wish)


@app.command(epilog=f"Example: mediator deliveries cancel {_ID}")
def cancel(  # noqa: PLR0913 - one parameter an option
    delivery_ids: Ids = None,
    *,
    script: Script = None,
    event: Event = None,
    state: OfState = None,
    ticket: Ticket = None,
    since: Since = None,
    until: Until = None,
    limit: Most = None,
    yes: Yes = False,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """End deliveries that wait, and stop those that run.

    Those with these ids, or all pending ones that the options say; --state
    running stops those that run. One that runs is still running in the answer:
    its script gets the grace period of its policy. Needs a token with the role
    operator.
    """
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    query = _query(script, event, state, ticket, since=since, until=until)
    wish = Wish(ids=delivery_ids or (), query=query, limit=limit, yes=yes, as_json=as_json)
    act(target, CANCEL, wish)


def _query(
    script: str | None,
    event: str | None,
    state: State | None,
    ticket: str | None,
    *,
    since: str | None,
    until: str | None,
) -> dict[str, str]:
    """What the options say, as the operator API wants it."""
    asked = {"script": script, "event": event, "state": state, "ticket": ticket}
    asked |= {"since": as_instant(since), "until": as_instant(until)}
    return {name: value for name, value in asked.items() if value is not None}


def as_instant(text: str | None) -> str | None:
    """A local date and time with its zone; what is none, such as a duration, as it is."""
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        return text  # the mediator knows durations, and says what is wrong with the rest


async def _show(target: Target, delivery_id: str) -> dict[str, Any]:
    async with connect(target) as mediator:
        return await mediator.get(finding.path(delivery_id))
