"""The delivery store on PostgreSQL, which several mediators share."""

from __future__ import annotations

import uuid_utils
from sqlalchemy import func, select

from mediator.storage.group_commit import GroupCommit
from mediator.storage.notices import Notices
from mediator.storage.postgres import PostgresqlDatabase, Server
from mediator.storage.postgres_notify import CHANNEL, Bell
from mediator.storage.store import SqlStore

LARGEST_GROUP = 100
"""Hand-overs in one transaction: it holds two locks for each, in a table of bounded size
(https://www.postgresql.org/docs/current/runtime-config-locks.html)."""


class PostgresqlStore(SqlStore):
    """Implements `DeliveryStore` on a database that other mediators use at the same time."""

    alone = False

    def __init__(self, server: Server) -> None:
        database = PostgresqlDatabase(server)
        notices = Notices()
        writer = GroupCommit(database.transaction, largest=LARGEST_GROUP)
        self._bell = Bell(server, notices, name=uuid_utils.uuid4().hex, send=self._send)
        super().__init__(database, writer, notices=notices, tell=self._bell)

    async def start(self) -> None:
        """Look at its schema, and listen. Raises `SettingsError` or `StoreUnavailable`."""
        await super().start()
        self._bell.start()

    async def close(self) -> None:
        """Write what was submitted and let go of the connections."""
        await self._bell.close()
        await super().close()

    async def vacuum_step(self) -> bool:
        """Nothing: PostgreSQL uses again what autovacuum finds free."""
        return False

    async def free(self) -> int | None:
        """None: where the server keeps its files is not to be seen from here."""
        return None

    async def _send(self, payload: str) -> None:
        await self._database.read(
            lambda conn: conn.execute(select(func.pg_notify(CHANNEL, payload)))
        )
