"""`mediator deliveries`: what was handed over to a running mediator, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from mediator.cli import options, printing
from mediator.cli.client import Connection, connect
from mediator.cli.delivery_news import follow_list, follow_output
from mediator.cli.delivery_tables import COMFORTABLE, listing, stacked, whole
from mediator.cli.failures import FAILED, USAGE, Failure, Refused
from mediator.cli.printing import AsJson, say, show, show_json, visible
from mediator.cli.target import Target, find_target
from mediator.model.deliveries import State

LARGEST_PAGE = 500
"""What the operator API gives at once."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, show, retry and cancel the deliveries of a running mediator.",
)
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of deliveries.")]
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
    asked = {"script": script, "event": event, "state": state, "ticket": ticket}
    asked |= {"since": as_instant(since), "until": as_instant(until)}
    query = {name: value for name, value in asked.items() if value is not None}
    if follow:
        asyncio.run(follow_list(target, query, limit=limit, as_json=as_json))
        return
    found = asyncio.run(_search(target, query, None if everything else limit))
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


@app.command(
    epilog="Example: mediator deliveries list --state dead --json | jq -r '.items[].id'"
    " | xargs mediator deliveries retry"
)
def retry(
    delivery_ids: Ids,
    *,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """Make deliveries due now, with a fresh budget of attempts.

    Each is told on a line of its own. Needs a token with the role operator.
    """
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    _each(target, "retry", delivery_ids, as_json=as_json)


@app.command(epilog=f"Example: mediator deliveries cancel {_ID}")
def cancel(
    delivery_ids: Ids,
    *,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """End deliveries that wait, and stop those that run.

    One that runs is still running in the answer: its script gets the grace
    period of its policy. Needs a token with the role operator.
    """
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    _each(target, "cancel", delivery_ids, as_json=as_json)


def as_instant(text: str | None) -> str | None:
    """A local date and time with its zone; what is none, such as a duration, as it is."""
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        return text  # the mediator knows durations, and says what is wrong with the rest


async def _search(target: Target, query: Mapping[str, str], limit: int | None) -> dict[str, Any]:
    """Pages until there are `limit` deliveries, or no more; `next` says where it would go on."""
    items: list[dict[str, Any]] = []
    async with connect(target) as mediator:
        after: str | None = None
        while True:
            size = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - len(items))
            page = await _page(mediator, query, size, after)
            items += page["items"]
            after = page["next"]
            if after is None or len(items) == limit:
                return {"items": items, "next": after}


async def _page(
    mediator: Connection, query: Mapping[str, str], size: int, after: str | None
) -> dict[str, Any]:
    place = {} if after is None else {"after": after}
    try:
        return await mediator.get("/v1/deliveries", {**query, "limit": str(size), **place})
    except Refused as error:
        if error.answered == 400:  # every value of the query is one of an option
            raise Failure(str(error), exit_code=USAGE) from error
        raise


async def _show(target: Target, delivery_id: str) -> dict[str, Any]:
    async with connect(target) as mediator:
        return await mediator.get(_path(delivery_id))


def _each(target: Target, verb: str, delivery_ids: list[str], *, as_json: bool) -> None:
    """Do it to each; one that cannot be done does not stop the others."""
    done, failures = asyncio.run(_do(target, verb, delivery_ids))
    if as_json:
        show_json({"items": done, "next": None})
    else:
        for document in done:
            print(visible(f"{document['id']}  {document['state']}"))  # noqa: T201 - the output
    for failure in failures:
        say(str(failure))
    if failures:
        raise typer.Exit(failures[0].exit_code if not done else FAILED)


async def _do(
    target: Target, verb: str, delivery_ids: list[str]
) -> tuple[list[dict[str, Any]], list[Refused]]:
    done: list[dict[str, Any]] = []
    failures: list[Refused] = []
    async with connect(target) as mediator:
        for delivery_id in delivery_ids:
            try:
                done.append(await mediator.post(f"{_path(delivery_id)}/{verb}"))
            except Refused as error:
                if error.answered in {401, 403}:  # it would be the same for the others
                    raise
                failures.append(error)
    return done, failures


def _path(delivery_id: str) -> str:
    return f"/v1/deliveries/{quote(delivery_id, safe='')}"
