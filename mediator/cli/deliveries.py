"""`mediator deliveries`: what was handed over to a running mediator, and what became of it."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import RenderableType
from rich.text import Text

from mediator.cli import options, output
from mediator.cli.client import Connection, connect
from mediator.cli.failures import FAILED, NOT_NOW, USAGE, Failure, Refused
from mediator.cli.output import (
    AsJson,
    block,
    cell,
    exact,
    fields,
    say,
    short,
    show,
    show_json,
    show_line,
    table,
)
from mediator.cli.target import Target, find_target
from mediator.model.delivery import State
from mediator.model.visible import visible

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
        return await mediator.get(path(delivery_id))


# Doing something to many deliveries: to those named, or to those a search finds.

AT_ONCE = 16
"""Requests that are under way together: their changes share commits."""
_OFTEN = 1000
"""Deliveries after which progress is told."""
_MOST_LINES = 20
"""Refusals that are told one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """What is done."""

    name: str
    """as the API has it"""
    usual: State
    """the state of those it is done to, unless another is asked for"""


RETRY = Verb(name="retry", usual=State.DEAD)
CANCEL = Verb(name="cancel", usual=State.PENDING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """Which deliveries, and how."""

    ids: Sequence[str]
    query: Mapping[str, str]
    limit: int | None
    yes: bool
    as_json: bool


def act(target: Target, verb: Verb, wish: Wish) -> None:
    """Do it to each; one that cannot be done does not stop the others.

    Raises `Failure` where it is not clear to which; exits with a code when some were refused.
    """
    _check(wish)
    work = _Work(verb, wish.as_json, told=not wish.ids)
    try:
        asyncio.run(_act(target, work, wish))
    finally:
        work.end()
    if work.failures:
        raise typer.Exit(work.failures[0].exit_code if not work.count else FAILED)


def _check(wish: Wish) -> None:
    chosen = bool(wish.query) or wish.limit is not None
    if wish.ids and (chosen or wish.yes):
        raise Failure("give ids, or options that say which deliveries, not both", exit_code=USAGE)
    if not wish.ids and not chosen:
        raise Failure(
            "say which deliveries: by their ids, or by options such as --script, --state and"
            " --since",
            exit_code=USAGE,
        )


async def _act(target: Target, work: _Work, wish: Wish) -> None:
    async with connect(target) as mediator:
        ids = wish.ids
        if not ids:
            query = {"state": work.verb.usual.value, **wish.query}
            ids = await matching_ids(mediator, query, wish.limit)
            _confirm(work.verb, len(ids), query["state"], yes=wish.yes)
        work.total = len(ids)
        for chunk in _chunks(ids):
            await work.do(mediator, chunk)


def _confirm(verb: Verb, count: int, state: str, *, yes: bool) -> None:
    """Raises `Failure` when nobody says yes."""
    if not count or yes:
        return
    question = f"{verb.name} {count} {state} {'delivery' if count == 1 else 'deliveries'}"
    if not sys.stdin.isatty():
        raise Failure(f"this would {question}; --yes does it", exit_code=USAGE)
    if not typer.confirm(f"{question}?", err=True):
        raise Failure("nothing was done")


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


@dataclass(slots=True)
class _Work:
    """What has been done so far, and telling it."""

    verb: Verb
    as_json: bool
    told: bool
    """whether its progress is told"""
    total: int | None = None
    """how many there are, once that is known"""
    count: int = 0
    documents: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Refused] = field(default_factory=list)

    async def do(self, mediator: Connection, ids: Sequence[str]) -> None:
        """Do it to these. Raises what would be the same for all others."""
        answers = await asyncio.gather(
            *(mediator.post(f"{path(id_)}/{self.verb.name}") for id_ in ids),
            return_exceptions=True,
        )
        before = self.count + len(self.failures)
        for fatal in [error for answer in answers if (error := self._take(answer)) is not None]:
            raise fatal
        after = self.count + len(self.failures)
        if self.told and before // _OFTEN < after // _OFTEN:
            say(f"{self.verb.name}: {after} of {self.total}")

    def _take(self, answer: dict[str, Any] | BaseException) -> BaseException | None:
        """What ends all, or nothing."""
        if isinstance(answer, Refused) and answer.answered not in {401, 403}:
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
            say(f"{self.verb.name}: {self.count} of {self.total} done")


# Deliveries of a running mediator, page after page.

LARGEST_PAGE = 500
"""What the operator API gives at once."""


async def search(target: Target, query: Mapping[str, str], limit: int | None) -> dict[str, Any]:
    """Pages until there are `limit` deliveries, or no more; `next` says where it would go on."""
    items: list[dict[str, Any]] = []
    after: str | None = None
    async with connect(target) as mediator:
        async for page in _pages(mediator, query, limit):
            items += page["items"]
            after = page["next"]
    return {"items": items, "next": after}


async def matching_ids(
    mediator: Connection, query: Mapping[str, str], limit: int | None
) -> list[str]:
    """Of the newest `limit` deliveries, the oldest first."""
    found: list[str] = []
    async for page in _pages(mediator, query, limit):
        found += (item["id"] for item in page["items"])
    return found[::-1]


def path(delivery_id: str) -> str:
    """Where one delivery is."""
    return f"/v1/deliveries/{quote(delivery_id, safe='')}"


async def _pages(
    mediator: Connection, query: Mapping[str, str], limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    found, after = 0, None
    while True:
        size = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - found)
        page = await _page(mediator, query, size, after)
        yield page
        found, after = found + len(page["items"]), page["next"]
        if after is None or found == limit:
            return


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


# Deliveries as they come and change, and one of them as its script writes.

_PAUSE = 1.0
"""Seconds between two looks at the list."""
"""What the operator API gives at once; changes of older deliveries are not seen."""


async def follow_list(
    target: Target, query: Mapping[str, str], *, limit: int, as_json: bool
) -> None:
    """Print the latest deliveries, then each new one and each change, until interrupted.

    A mediator that cannot be reached for a while, such as one that is started again, is waited for.
    """
    seen = _Seen()
    size = min(limit, LARGEST_PAGE)
    async with connect(target) as mediator:
        while True:
            items = await _newest(mediator, query, size, patient=bool(seen.looks))
            for item in seen.news(items):
                _tell(item, as_json=as_json)
            size = LARGEST_PAGE
            await asyncio.sleep(_PAUSE)


@dataclass(kw_only=True, slots=True)
class _Seen:
    """What was printed of which delivery."""

    looks: int = 0
    _known: dict[str, object] = field(default_factory=dict)
    _oldest: str = ""

    def news(self, items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """What is new or has changed, the oldest first.

        Of what was there before the first look only so much was asked for: the rest is not new.
        """
        self.looks += 1
        if self.looks == 1 and items:
            self._oldest = items[-1]["received"]
        for item in reversed(items):
            now = (item["state"], item["attempts_made"], item["last_error"])
            if item["received"] >= self._oldest and self._known.get(item["id"]) != now:
                self._known[item["id"]] = now
                yield item


async def _newest(
    mediator: Connection, query: Mapping[str, str], size: int, *, patient: bool
) -> list[dict[str, Any]]:
    complained = False
    while True:
        try:
            found = await mediator.get("/v1/deliveries", {**query, "limit": str(size)})
        except Refused as error:
            if error.answered == 400:  # every value of the query is one of an option
                raise Failure(str(error), exit_code=USAGE) from error
            raise
        except Failure as error:
            if not patient or error.exit_code != NOT_NOW:
                raise
            if not complained:
                say(f"{error} Trying again until it can be.")
            complained = True
            await asyncio.sleep(_PAUSE)
        else:
            items: list[dict[str, Any]] = found["items"]
            return items


def _tell(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_line(item)
        return
    at = item["ended"] or item["received"]
    words = [
        short(at, now=datetime.now(UTC)),
        f"{item['state']:<9}",
        item["id"],
        item["script"],
        item["event"] or "-",
        item["ticket"]["id"] or "-",
    ]
    if item["attempts_made"] > 1 or item["state"] == "pending":
        words.append(f"tried {item['attempts_made']}")
    if item["last_error"] and item["state"] != "succeeded":
        words.append(item["last_error"])
    print(visible("  ".join(str(word) for word in words)), flush=True)  # noqa: T201 - the output


async def follow_output(target: Target, delivery_id: str, *, as_json: bool) -> None:
    """Print what the script writes until the delivery has ended.

    Raises `Failure` when the mediator stops before that.
    """
    path = f"/v1/deliveries/{quote(delivery_id, safe='')}/output?follow"
    async with connect(target) as mediator, aclosing(mediator.events(path)) as events:
        async for name, data in events:
            if as_json:
                show_line({"event": name, "data": data})
            else:
                _pass_on(name, data)
            if name == "end":
                return
    raise Failure(
        f"the mediator ended the connection before the delivery {delivery_id} had ended: it may be"
        " going down. The delivery is kept; follow it again.",
        exit_code=NOT_NOW,
    )


def _pass_on(name: str, data: dict[str, Any]) -> None:
    """Outputs to the streams they were written to; everything else is told on stderr."""
    if name in {"stdout", "stderr"}:
        stream = sys.stdout if name == "stdout" else sys.stderr
        print(visible(data["text"], keep="\n\t"), end="", file=stream, flush=True)
    elif name == "attempt":
        say(f"attempt {data['number']}: {_told_ending(data)}")
    elif name == "gap":
        say(f"attempt {data['attempt']}: {data['bytes']} bytes were missed here")
    elif name == "end":
        say(f"the delivery is {data['state']}")


def _told_ending(data: dict[str, Any]) -> str:
    if data["outcome"] is None:
        return "running"
    code = "" if data["exit_code"] is None else f", exit code {data['exit_code']}"
    return f"{data['outcome']}{code}" + (f": {data['reason']}" if data["reason"] else "")


# Deliveries as a person reads them: many as lines, one whole.

_STYLES = {
    "pending": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "dead": "bold red",
    "cancelled": "dim",
}
_COLUMNS = (
    "ID",
    "RECEIVED",
    "STATE",
    "SCRIPT",
    "EVENT",
    "TICKET",
    "SUBJECT",
    "TRIED",
    "LAST ERROR",
)


COMFORTABLE = 140
"""Columns of a terminal that a line for each delivery needs."""


def listing(items: Sequence[dict[str, Any]], *, now: datetime) -> Iterator[RenderableType]:
    """A line for each delivery."""
    made = table(*_COLUMNS, whole=_COLUMNS[:6], cut=("SUBJECT", "LAST ERROR"))
    for item in items:
        ticket = item["ticket"]
        made.add_row(
            cell(item["id"]),
            cell(short(item["received"], now=now)),
            _state(item),
            cell(item["script"]),
            cell(item["event"] or "-"),
            cell(ticket["id"] or "-"),
            cell(ticket["subject"] or "-"),
            cell(item["attempts_made"]),
            cell(_last_error(item)),
        )
    yield made


def stacked(items: Sequence[dict[str, Any]], *, now: datetime) -> Iterator[RenderableType]:
    """The same for a narrow terminal: two or three lines for each delivery."""
    for item in items:
        ticket = item["ticket"]
        received = short(item["received"], now=now)
        about = (item["script"], item["event"], ticket["id"], ticket["subject"])
        yield cell(item["id"]).append_text(cell(f"  {received}  ")).append_text(_state(item))
        yield cell("  " + "  ".join(visible(text or "-") for text in about))
        if _last_error(item):
            yield cell(f"  {item['attempts_made']} tried: {_last_error(item)}")


def _last_error(item: dict[str, Any]) -> str:
    return "" if item["state"] == "succeeded" else str(item["last_error"])


def whole(item: dict[str, Any]) -> Iterator[RenderableType]:
    """Everything about one delivery, and what its attempts printed."""
    ticket = item["ticket"]
    yield fields(
        [
            ("delivery", cell(item["id"])),
            ("state", _state(item)),
            ("script", cell(item["script"])),
            ("event", cell(item["event"] or "-")),
            ("arguments", cell(shlex.join(item["arguments"]) or "-")),
            ("interactive", cell("yes" if item["interactive"] else "no")),
            *((f"ticket {key}", cell(value)) for key, value in ticket.items() if value is not None),
            ("key", cell(item["key"])),
            ("received", cell(exact(item["received"]))),
            ("due", cell(exact(item["due"]))),
            ("ended", cell(exact(item["ended"]))),
            ("attempts", cell(item["attempts_made"])),
            ("last error", cell(item["last_error"] or "-")),
        ]
    )
    for attempt in item["attempts"]:
        yield from _attempt(attempt)


def _attempt(attempt: dict[str, Any]) -> Iterator[RenderableType]:
    yield Text(visible(f"\nattempt {attempt['number']}: {_ending(attempt)}", keep="\n"), "bold")
    yield fields(
        [
            ("started", cell(exact(attempt["started"]))),
            ("ended", cell(exact(attempt["ended"]))),
            *((("reason", cell(attempt["reason"])),) if attempt["reason"] else ()),
        ]
    )
    for name in ("stdout", "stderr"):
        text, size = attempt[name] or "", attempt[f"{name}_bytes"] or 0
        yield Text(f"{name}, {size} bytes" + (":" if text else ""), "bold")
        if text:
            yield block(text.removesuffix("\n"))


def _ending(attempt: dict[str, Any]) -> str:
    if attempt["outcome"] is None:
        return "running"
    parts = [str(attempt["outcome"])]
    if attempt["exit_code"] is not None:
        parts.append(f"exit code {attempt['exit_code']}")
    if attempt["signal"] is not None:
        parts.append(f"signal {attempt['signal']}")
    return ", ".join(parts)


def _state(item: dict[str, Any]) -> Text:
    return cell(item["state"], _STYLES.get(item["state"], ""))
