"""`mediator deliveries`: what was handed over to a running mediator, and what became of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer

from mediator.cli import options, output
from mediator.cli.client import MediatorClient, connect, delivery_path, matching_ids, search
from mediator.cli.delivery_output import (
    COMFORTABLE,
    follow_list,
    follow_output,
    listing,
    stacked,
    whole,
)
from mediator.cli.failures import FAILED, USAGE, Failure, RequestRefused
from mediator.cli.output import AsJson, say, show, show_json
from mediator.cli.target import Target, find_target
from mediator.model.delivery import State
from mediator.model.visible import visible

AT_ONCE = 16
"""Requests that are under way together: their changes share commits."""
_OFTEN = 1000
"""Deliveries after which progress is told."""
_MOST_LINES = 20
"""Refusals that are told one by one."""

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
    found = asyncio.run(search(target, query, None if everything else limit))
    if as_json:
        show_json(found)
        return
    form = stacked if output.narrow(below=COMFORTABLE) else listing
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
    chosen = DeliverySelection(
        ids=delivery_ids or (), query=query, limit=limit, yes=yes, as_json=as_json
    )
    act(target, RETRY, chosen)


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
    chosen = DeliverySelection(
        ids=delivery_ids or (), query=query, limit=limit, yes=yes, as_json=as_json
    )
    act(target, CANCEL, chosen)


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
        return await mediator.get(delivery_path(delivery_id))


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """What is done."""

    name: str
    """as the API has it"""
    usual: State
    """the state of those it is done to, unless another is asked for"""


RETRY = Action(name="retry", usual=State.DEAD)
CANCEL = Action(name="cancel", usual=State.PENDING)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliverySelection:
    """Which deliveries, and how."""

    ids: Sequence[str]
    query: Mapping[str, str]
    limit: int | None
    yes: bool
    as_json: bool


def act(target: Target, action: Action, chosen: DeliverySelection) -> None:
    """Do it to each; one that cannot be done does not stop the others.

    Raises `Failure` where it is not clear to which; exits with a code when some were refused.
    """
    _check(chosen)
    progress = _Progress(action, chosen.as_json, told=not chosen.ids)
    try:
        asyncio.run(_act(target, progress, chosen))
    finally:
        progress.end()
    if progress.failures:
        raise typer.Exit(progress.failures[0].exit_code if not progress.count else FAILED)


def _check(chosen: DeliverySelection) -> None:
    by_options = bool(chosen.query) or chosen.limit is not None
    if chosen.ids and (by_options or chosen.yes):
        raise Failure("give ids, or options that say which deliveries, not both", exit_code=USAGE)
    if not chosen.ids and not by_options:
        raise Failure(
            "say which deliveries: by their ids, or by options such as --script, --state and"
            " --since",
            exit_code=USAGE,
        )


async def _act(target: Target, progress: _Progress, chosen: DeliverySelection) -> None:
    async with connect(target) as mediator:
        ids = chosen.ids
        if not ids:
            query = {"state": progress.action.usual.value, **chosen.query}
            ids = await matching_ids(mediator, query, chosen.limit)
            ask = partial(typer.confirm, err=True) if sys.stdin.isatty() else None
            confirm(progress.action, len(ids), query["state"], yes=chosen.yes, ask=ask)
        progress.total = len(ids)
        for chunk in chunks(ids):
            await progress.do(mediator, chunk)


def confirm(
    action: Action, count: int, state: str, *, yes: bool, ask: Callable[[str], bool] | None
) -> None:
    """Raises `Failure` when nobody says yes; without `ask` nobody can be asked."""
    if not count or yes:
        return
    question = f"{action.name} {count} {state} {'delivery' if count == 1 else 'deliveries'}"
    if ask is None:
        raise Failure(f"this would {question}; --yes does it", exit_code=USAGE)
    if not ask(f"{question}?"):
        raise Failure("nothing was done")


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """In groups of `AT_ONCE` and in their order."""
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


@dataclass(slots=True)
class _Progress:
    """What has been done so far, and telling it."""

    action: Action
    as_json: bool
    told: bool
    """whether its progress is told"""
    total: int | None = None
    """how many there are, once that is known"""
    count: int = 0
    documents: list[dict[str, Any]] = field(default_factory=list)
    failures: list[RequestRefused] = field(default_factory=list)

    async def do(self, mediator: MediatorClient, ids: Sequence[str]) -> None:
        """Do it to these. Raises what would be the same for all others."""
        answers = await asyncio.gather(
            *(mediator.post(f"{delivery_path(id_)}/{self.action.name}") for id_ in ids),
            return_exceptions=True,
        )
        before = self.count + len(self.failures)
        for fatal in [error for answer in answers if (error := self._take(answer)) is not None]:
            raise fatal
        after = self.count + len(self.failures)
        if self.told and before // _OFTEN < after // _OFTEN:
            say(f"{self.action.name}: {after} of {self.total}")

    def _take(self, answer: dict[str, Any] | BaseException) -> BaseException | None:
        """What ends all, or nothing."""
        if isinstance(answer, RequestRefused) and answer.answered not in {401, 403}:
            self.failures.append(answer)
            return None
        if isinstance(answer, BaseException):
            return answer
        self.count += 1
        if self.as_json:
            self.documents.append(answer)
        else:
            print(visible(f"{answer['id']}  {answer['state']}"))  # noqa: T201 - the output
        return None

    def end(self) -> None:
        """Tell what is left to tell."""
        if self.as_json and (self.documents or self.failures or self.total == 0):
            show_json({"items": self.documents, "next": None})
        for failure in self.failures[:_MOST_LINES]:
            say(str(failure))
        if len(self.failures) > _MOST_LINES:
            say(f"and {len(self.failures) - _MOST_LINES} more were refused")
        if self.told and self.total is not None:
            say(f"{self.action.name}: {self.count} of {self.total} done")
