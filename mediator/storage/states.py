"""Conditions on a delivery's state.

Literals, not parameters: a partial index serves only a condition that the database can read.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, literal_column

from mediator.model.deliveries import State
from mediator.storage.tables import deliveries


def in_state(*states: State, of: FromClause = deliveries) -> ColumnElement[bool]:
    """That a delivery is in this state, or in one of these."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state.value}'") for state in states]
    column = of.c.state
    return column == words[0] if len(words) == 1 else column.in_(words)


PENDING = in_state(State.PENDING)
RUNNING = in_state(State.RUNNING)
DEAD = in_state(State.DEAD)
