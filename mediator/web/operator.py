"""The operator API: look at deliveries and scripts, retry and cancel."""

from __future__ import annotations

from dataclasses import replace

import structlog
from aiohttp import web
from pydantic import BaseModel

from mediator.model.deliveries import Delivery
from mediator.settings.tree import Role
from mediator.tracing.context import traced
from mediator.web.documents import (
    DeliveryList,
    ScriptList,
    document,
    script_document,
)
from mediator.web.searching import read_search
from mediator.web.services import SERVICES, Holder
from mediator.web.tokens import require

_log = structlog.get_logger()


async def list_deliveries(request: web.Request) -> web.Response:
    """Deliveries, newest first."""
    require(request, Role.VIEWER)
    services = request.app[SERVICES]
    search = read_search(request.query, now=services.clock.now())
    # One more than asked for tells whether there is a next page.
    found = await services.store.search(replace(search, limit=search.limit + 1))
    page = found[: search.limit]
    return _json(
        DeliveryList(
            items=[document(delivery, outputs=False) for delivery in page],
            next=str(page[-1].seq) if len(found) > len(page) else None,
        )
    )


async def show_delivery(request: web.Request) -> web.Response:
    """One delivery with all attempts and their outputs."""
    require(request, Role.VIEWER)
    delivery = await request.app[SERVICES].store.find(request.match_info["id"])
    return _json(document(delivery))


async def retry_delivery(request: web.Request) -> web.Response:
    """Make a delivery due now, with a fresh budget."""
    holder = require(request, Role.OPERATOR)
    return _json(document(await retry(request, holder)))


async def retry(request: web.Request, holder: Holder) -> Delivery:
    """What `holder` asks for, who may. Raises `NotFound` or `Conflict`."""
    services = request.app[SERVICES]
    delivery = await services.store.retry(request.match_info["id"], now=services.clock.now())
    _log.info("delivery retried", **_named(delivery), by=holder.name)
    return delivery


async def cancel_delivery(request: web.Request) -> web.Response:
    """End a pending delivery; stop a running one."""
    holder = require(request, Role.OPERATOR)
    return _json(document(await cancel(request, holder)))


async def cancel(request: web.Request, holder: Holder) -> Delivery:
    """What `holder` asks for, who may. Raises `NotFound` or `Conflict`."""
    services = request.app[SERVICES]
    delivery = await services.store.cancel(
        request.match_info["id"],
        now=services.clock.now(),
        reason=f"cancelled by {holder.name}",
    )
    _log.info(
        "delivery cancelled", **_named(delivery), by=holder.name, running=not delivery.state.ended
    )
    return delivery


async def list_scripts(request: web.Request) -> web.Response:
    """All scripts."""
    require(request, Role.VIEWER)
    catalog = request.app[SERVICES].scripts.catalog
    items = [script_document(script) for script in catalog.scripts.values()]
    return _json(ScriptList(items=items, next=None, warnings=list(catalog.warnings)))


async def show_script(request: web.Request) -> web.Response:
    """One script."""
    require(request, Role.VIEWER)
    script = request.app[SERVICES].scripts.catalog.find(request.match_info["name"])
    return _json(script_document(script))


def _named(delivery: Delivery) -> dict[str, str | None]:
    """The ids by which its other log lines are found."""
    return {
        "delivery_id": delivery.id,
        "ticket_id": delivery.ticket.id,
        "script": delivery.script,
        **traced(delivery.trace),
    }


def _json(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")
