"""Accepts as fast as it can and prints each id once it is kept; run to be killed.

python -m tests.integration.storage.accept_for_ever FILE
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uuid_utils

from mediator.storage.sqlite import SqliteStore
from tests.support.store import new


async def accept(path: Path) -> None:
    store = SqliteStore(path)
    await store.start()

    async def one_after_another() -> None:
        while True:
            name = str(uuid_utils.uuid7())
            kept = await store.accept(new(id=name, idempotency_key=name, body=os.urandom(500)))
            os.write(1, kept.id.encode() + b"\n")

    await asyncio.gather(*(one_after_another() for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(accept(Path(sys.argv[1])))
