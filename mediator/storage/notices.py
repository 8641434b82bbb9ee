"""Tells those who wait that something changed in the store.

In one process this is a set of events; a store that several mediators share passes them on. A
notice is a hint to look, never the only carrier of a fact: whoever waits also looks again by time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from mediator.clock import wait_for_event


class Notices:
    """Hints from those who change deliveries to those who wait for it."""

    def __init__(self) -> None:
        self._work = asyncio.Event()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._on_stop: list[Callable[[str], None]] = []
        self._wanted: Callable[[str, bool], bool] = lambda _script, _interactive: True

    def want(self, wanted: Callable[[str, bool], bool]) -> None:
        """Ask whoever takes work (of that script; interactive or not) before waking it.

        Who says no must call `work()` as soon as it would say yes.
        """
        self._wanted = wanted

    def work(self, script: str | None = None, *, interactive: bool = False) -> None:
        """Something of `script` may be due; None: something may have become due anywhere."""
        if script is None or self._wanted(script, interactive):
            self._work.set()

    async def wait_for_work(self, seconds: float) -> None:
        """Return when something may be due, at the latest after `seconds`."""
        await wait_for_event(self._work, seconds=seconds)
        self._work.clear()

    def ended(self, delivery_ids: Iterable[str]) -> None:
        """These deliveries ended."""
        for delivery_id in delivery_ids:
            for watcher in self._watchers.get(delivery_id, ()):
                watcher.set()

    def look_again(self) -> None:
        """Anything may have happened: everybody looks."""
        self._work.set()
        self.ended(list(self._watchers))

    @contextmanager
    def watch(self, delivery_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the delivery ends, from now on."""
        event = asyncio.Event()
        watchers = self._watchers.setdefault(delivery_id, set())
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers:
                self._watchers.pop(delivery_id, None)

    def stop(self, delivery_id: str) -> None:
        """Whoever runs this delivery is to stop it."""
        for listener in self._on_stop:
            listener(delivery_id)

    def on_stop(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the id of every delivery that is to be stopped."""
        self._on_stop.append(listener)


class Notifier(Protocol):
    """Who is told of changes: those who wait here, or those elsewhere as well."""

    def work(self, script: str | None = None, *, interactive: bool = False) -> None:
        """Something may be due."""
        ...

    def ended(self, delivery_ids: Iterable[str]) -> None:
        """These deliveries ended."""
        ...

    def stop(self, delivery_id: str) -> None:
        """Whoever runs it is to stop it."""
        ...
