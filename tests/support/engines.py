"""Listening to every engine of SQLAlchemy, whoever made it: what runs, and on which connection.

https://docs.sqlalchemy.org/en/21/core/event.html#targets
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, Pool, event

Listener = Callable[..., Any]


@contextmanager
def on_statements(listener: Listener) -> Iterator[None]:
    """Call `listener` as an event `before_cursor_execute` does."""
    with _listening(Engine, "before_cursor_execute", listener):
        yield


@contextmanager
def on_commits(listener: Listener) -> Iterator[None]:
    """Call `listener` with the connection that is to be committed."""
    with _listening(Engine, "commit", listener):
        yield


@contextmanager
def on_connections(work: Callable[[Any], object]) -> Iterator[None]:
    """Call `work` with the driver's connection each time that one is about to be used."""

    def listener(connection: Any, *_: object) -> None:
        work(connection)

    with _listening(Pool, "checkout", listener):
        yield


@contextmanager
def _listening(target: Any, name: str, listener: Listener) -> Iterator[None]:
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)
