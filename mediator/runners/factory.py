"""Gives each attempt to the runner that it is described for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from mediator.model.delivery import Ended, Outcome
from mediator.runners.port import Run, Runner

_NO_CLUSTER = (
    "not started: its runner is kubernetes, and kubernetes.enabled is not set in the settings"
)


class ChosenRunner:
    """Runs attempts here, or in a cluster where they are to have a pod. Implements `Runner`."""

    def __init__(self, *, here: Runner, cluster: Runner | None) -> None:
        self._here = here
        self._cluster = cluster

    async def start(self) -> None:
        """Start both. Raises `SettingsError`."""
        await self._here.start()
        if self._cluster is not None:
            try:
                await self._cluster.start()
            except BaseException:
                await self._here.close()
                raise

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:
        """Run it where it belongs; see `Runner.run`."""
        if run.pod is None:
            return await self._here.run(run, stop=stop)
        if self._cluster is None:
            return Ended(outcome=Outcome.NOT_STARTED, reason=_NO_CLUSTER)
        return await self._cluster.run(run, stop=stop)

    async def recorded(self, name: str) -> None:
        """Tell it to the runner that keeps anything."""
        if self._cluster is not None:
            await self._cluster.recorded(name)

    def kept(self) -> Collection[str]:
        """What is kept in the cluster."""
        return () if self._cluster is None else self._cluster.kept()

    async def close(self) -> None:
        """Close both."""
        if self._cluster is not None:
            await self._cluster.close()
        await self._here.close()
