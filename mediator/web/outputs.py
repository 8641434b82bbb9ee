"""What an attempt has written: as a document, as text, or as it comes."""

from __future__ import annotations

from aiohttp import web

from mediator.errors import BadRequest, NotFound
from mediator.model.attempts import Attempt
from mediator.model.deliveries import Delivery
from mediator.runners.live import Live
from mediator.settings.tree import Role
from mediator.web.documents import OutputDocument, text_of
from mediator.web.following import Following
from mediator.web.services import SERVICES
from mediator.web.streams import CONTENT_TYPE as _STREAM
from mediator.web.streams import stream
from mediator.web.tokens import require

_FOLLOW = {"": True, "true": True, "false": False}


async def show_output(request: web.Request) -> web.StreamResponse:
    """What the latest attempt has written, or another one; with `follow` all that comes too."""
    require(request, Role.VIEWER)
    services = request.app[SERVICES]
    follow = _follow(request)
    asked = number_of(request)
    delivery = await services.store.find(request.match_info["id"])
    attempt = attempt_of(delivery, asked)
    if follow:
        first = 1 if attempt is None else attempt.number
        return await stream(request, Following(services, delivery.id, first=first).events())
    live = None if attempt is None else services.live.find(delivery.id, attempt.number)
    shown = output_document(delivery, attempt, live)
    if "text/plain" in request.headers.get("Accept", ""):
        return web.Response(text=shown.stdout + shown.stderr)
    return web.Response(text=shown.model_dump_json(), content_type="application/json")


def _follow(request: web.Request) -> bool:
    value = request.query.get("follow", "false")
    if value not in _FOLLOW:
        raise BadRequest("follow is neither true nor false.")
    wanted = _FOLLOW[value] or _STREAM in request.headers.get("Accept", "")
    return wanted and request.method != "HEAD"


def number_of(request: web.Request) -> int | None:
    """The attempt that is asked for. Raises `BadRequest`."""
    value = request.query.get("attempt")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value)):
        raise BadRequest("attempt is not the number of an attempt: 1, 2, ...")
    return int(value)


def attempt_of(delivery: Delivery, number: int | None) -> Attempt | None:
    """That attempt, the latest by default; None when there is none yet. Raises `NotFound`."""
    if number is None:
        return delivery.attempts[-1] if delivery.attempts else None
    found = [attempt for attempt in delivery.attempts if attempt.number == number]
    if not found:
        raise NotFound(f"delivery {delivery.id} has no attempt {number}.")
    return found[0]


def output_document(
    delivery: Delivery, attempt: Attempt | None, live: Live | None
) -> OutputDocument:
    """What the attempt has written: what is held of it while it runs here, else what is stored."""
    texts = {"stdout": "", "stderr": ""}
    sizes = dict.fromkeys(texts, 0)
    for name in texts:
        if live is not None:
            held = b"".join(piece.data for piece in live.since(0) if piece.stream == name)
            texts[name], sizes[name] = text_of(held), live.sizes[name]
        elif attempt is not None:
            output = attempt.stdout if name == "stdout" else attempt.stderr
            texts[name], sizes[name] = text_of(output.kept), output.size
    return OutputDocument(
        delivery=delivery.id,
        state=delivery.state,
        attempt=None if attempt is None else attempt.number,
        running=attempt is not None and attempt.outcome is None,
        stdout=texts["stdout"],
        stdout_bytes=sizes["stdout"],
        stderr=texts["stderr"],
        stderr_bytes=sizes["stderr"],
    )
