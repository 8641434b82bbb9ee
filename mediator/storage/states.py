"""Conditions on a delivery's state.

Literals, not parameters: a partial index serves only a condition that the database can read.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, literal_column

from mediator.model.deliveries import State
from mediator.storage.tables import deliveries


def _is(state: State) -> ColumnElement[bool]:
    return deliveries.c.state == literal_column(f"'{state.value}'")


PENDING = _is(State.PENDING)
RUNNING = _is(State.RUNNING)
DEAD = _is(State.DEAD)

_INDEXED = {State.PENDING: PENDING, State.RUNNING: RUNNING, State.DEAD: DEAD}


def in_state(state: State) -> ColumnElement[bool]:
    """That a delivery is in this state."""
    return _INDEXED.get(state, deliveries.c.state == state)
