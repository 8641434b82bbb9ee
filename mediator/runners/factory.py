"""Which runner runs which attempts, and all of them started and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator

from mediator.model.delivery import Ended, Outcome
from mediator.model.policy import RunnerName
from mediator.runners.port import Run, Runner

_NO_CLUSTER = (
    "not started: its runner is kubernetes, and kubernetes.enabled is not set in the settings"
)


class Runners:
    """The runners of one mediator, by the names that policies have for them."""

    def __init__(self, *, here: Runner, cluster: Runner | None = None) -> None:
        """`here` runs on this machine, warm or not; `cluster`: None when there is none."""
        self._here = here
        self._cluster = NoCluster() if cluster is None else cluster

    def of(self, name: RunnerName) -> Runner:
        """Who runs what has this name in its policy."""
        return self._cluster if name is RunnerName.KUBERNETES else self._here

    def __iter__(self) -> Iterator[Runner]:
        """Each of them."""
        return iter((self._here, self._cluster))

    async def start(self) -> None:
        """Start them. Raises `SettingsError`."""
        await self._here.start()
        try:
            await self._cluster.start()
        except BaseException:
            await self._here.close()
            raise

    async def close(self) -> None:
        """Close them."""
        await self._cluster.close()
        await self._here.close()


class NoCluster:
    """Stands for the cluster that the settings do not name. Implements `Runner`."""

    survives_daemon = True
    """What an earlier mediator began there may still run."""

    async def start(self) -> None:
        """Nothing to get ready."""

    async def run(self, run: Run, *, stop: asyncio.Event) -> Ended:  # noqa: ARG002 -- the port's
        """Nothing can be run."""
        return Ended(outcome=Outcome.NOT_STARTED, reason=_NO_CLUSTER)

    async def recorded(self, name: str) -> None:
        """Nothing is kept."""

    def kept(self) -> Collection[str]:
        """Nothing."""
        return ()

    async def close(self) -> None:
        """Nothing to let go of."""
