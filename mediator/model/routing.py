"""Which scripts an event goes to: a table of rows, each a few patterns and some scripts.

A row matches when each pattern it states matches; what it does not state matches anything.
Patterns are shell-style (`*`, `?`, `[abc]`) and tell capital letters apart. All rows that match
count, in the order of the table; a script that several of them name gets one delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mediator.model.ticket import Ticket


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One row of the table."""

    scripts: tuple[str, ...]
    """exact file names"""
    event: tuple[str, ...] = ()
    """patterns of `SCW_EVENT`, of which one must match; none: any event"""
    workflow: str | None = None
    """pattern of one of the arguments, or of all of them joined by blanks"""
    step: str | None = None
    """pattern of the step's name"""
    priority: str | None = None
    """pattern of the priority's name"""
    subject: str | None = None
    """pattern of the ticket's subject"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Whether a row matches, and if not, why."""

    route: Route
    mismatch: str
    """the first pattern that does not match, with what it was held against; empty: it matches"""

    @property
    def matches(self) -> bool:
        """Whether the row's scripts get the event."""
        return not self.mismatch


def explain(
    routes: Iterable[Route], *, event: str, arguments: Sequence[str], ticket: Ticket
) -> list[Explanation]:
    """Every row of the table, held against one event."""
    return [
        Explanation(route=route, mismatch=_mismatch(route, event, arguments, ticket))
        for route in routes
    ]


def scripts_of(explanations: Iterable[Explanation]) -> tuple[str, ...]:
    """The scripts of the rows that match, each once, in the order of the table."""
    names = (name for e in explanations if e.matches for name in e.route.scripts)
    return tuple(dict.fromkeys(names))


def _mismatch(route: Route, event: str, arguments: Sequence[str], ticket: Ticket) -> str:
    if route.event and not any(fnmatchcase(event, pattern) for pattern in route.event):
        return f"event {event!r} is not {' or '.join(route.event)}"
    if route.workflow is not None and not _names(route.workflow, arguments):
        return f"no argument is {route.workflow!r}"
    for field, pattern, text in (
        ("step", route.step, ticket.step),
        ("priority", route.priority, ticket.priority),
        ("subject", route.subject, ticket.subject),
    ):
        if pattern is not None and not fnmatchcase(text or "", pattern):
            return f"{field} {text or ''!r} is not {pattern!r}"
    return ""


def _names(pattern: str, arguments: Sequence[str]) -> bool:
    """SecureChange probably hands its arguments field over as one argument, blanks and all."""
    return any(fnmatchcase(text, pattern) for text in (*arguments, " ".join(arguments)))
