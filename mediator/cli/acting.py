"""Doing something to many deliveries: to those named, or to those a search finds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from mediator.cli import finding
from mediator.cli.client import Connection, connect
from mediator.cli.failures import FAILED, USAGE, Failure, Refused
from mediator.cli.printing import say, show_json
from mediator.cli.target import Target
from mediator.model.deliveries import State
from mediator.model.visible import visible

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
            ids = await finding.ids(mediator, query, wish.limit)
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
            *(mediator.post(f"{finding.path(id_)}/{self.verb.name}") for id_ in ids),
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
