"""Conditions on the state of a delivery, and of others of its ticket.

Literals, not parameters: a partial index serves only a condition that the database can read.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, exists, literal_column, or_

from mediator.model.deliveries import State
from mediator.storage.tables import deliveries


def in_state(*states: State, of: FromClause = deliveries) -> ColumnElement[bool]:
    """That a delivery is in this state, or in one of these."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state.value}'") for state in states]
    column = of.c.state
    return column == words[0] if len(words) == 1 else column.in_(words)


def one_before(head: FromClause) -> ColumnElement[bool]:
    """Another delivery of the same script and ticket arrived earlier and is unfinished, or runs.

    One that arrived later can run: when an operator has an ended delivery made again.
    """
    other = deliveries.alias("other")
    return exists().where(
        other.c.ticket_id == head.c.ticket_id,
        other.c.script == head.c.script,
        in_state(State.PENDING, State.RUNNING, of=other),
        or_(other.c.seq < head.c.seq, in_state(State.RUNNING, of=other)),
        other.c.interactive == head.c.interactive,
    )


PENDING = in_state(State.PENDING)
RUNNING = in_state(State.RUNNING)
DEAD = in_state(State.DEAD)
