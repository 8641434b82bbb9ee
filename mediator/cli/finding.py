"""Deliveries of a running mediator, page after page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from mediator.cli.client import Connection, connect
from mediator.cli.failures import USAGE, Failure, Refused
from mediator.cli.target import Target

LARGEST_PAGE = 500
"""What the operator API gives at once."""


async def search(target: Target, query: Mapping[str, str], limit: int | None) -> dict[str, Any]:
    """Pages until there are `limit` deliveries, or no more; `next` says where it would go on."""
    items: list[dict[str, Any]] = []
    after: str | None = None
    async with connect(target) as mediator:
        async for page in _pages(mediator, query, limit):
            items += page["items"]
            after = page["next"]
    return {"items": items, "next": after}


async def ids(mediator: Connection, query: Mapping[str, str], limit: int | None) -> list[str]:
    """Of the newest `limit` deliveries, the oldest first."""
    found: list[str] = []
    async for page in _pages(mediator, query, limit):
        found += (item["id"] for item in page["items"])
    return found[::-1]


def path(delivery_id: str) -> str:
    """Where one delivery is."""
    return f"/v1/deliveries/{quote(delivery_id, safe='')}"


async def _pages(
    mediator: Connection, query: Mapping[str, str], limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    found, after = 0, None
    while True:
        size = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - found)
        page = await _page(mediator, query, size, after)
        yield page
        found, after = found + len(page["items"]), page["next"]
        if after is None or found == limit:
            return


async def _page(
    mediator: Connection, query: Mapping[str, str], size: int, after: str | None
) -> dict[str, Any]:
    place = {} if after is None else {"after": after}
    try:
        return await mediator.get("/v1/deliveries", {**query, "limit": str(size), **place})
    except Refused as error:
        if error.answered == 400:  # every value of the query is one of an option
            raise Failure(str(error), exit_code=USAGE) from error
        raise
