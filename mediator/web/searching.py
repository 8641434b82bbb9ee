"""Reading the query string of a list of deliveries."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from multidict import MultiMapping

from mediator.errors import BadRequest
from mediator.model.deliveries import State
from mediator.model.durations import parse_duration
from mediator.storage.port import Search

LARGEST_PAGE = 500
_KEYS = ("script", "event", "state", "ticket", "since", "until", "limit", "after")
_LARGEST_SEQ = 2**63 - 1


def read_search(query: MultiMapping[str], *, now: datetime) -> Search:
    """The search asked for. Raises `BadRequest` naming the parameter."""
    twice = [key for key in query if len(query.getall(key)) > 1]
    if twice:
        raise BadRequest(f"The parameter {twice[0][:100]!r} is there more than once.")
    unknown = [key for key in query if key not in _KEYS]
    if unknown:
        raise BadRequest(
            f"The parameter {unknown[0][:100]!r} is unknown; there are {', '.join(_KEYS)}."
        )
    after = query.get("after")
    return Search(
        script=query.get("script"),
        event=query.get("event"),
        state=_state(query.get("state")),
        ticket=query.get("ticket"),
        since=_time("since", query.get("since"), now),
        until=_time("until", query.get("until"), now),
        limit=_number("limit", query.get("limit", "50"), LARGEST_PAGE),
        after=None if after is None else _number("after", after, _LARGEST_SEQ),
    )


def _state(text: str | None) -> State | None:
    if text is None:
        return None
    try:
        return State(text)
    except ValueError:
        states = ", ".join(State)
        raise BadRequest(f"state={text[:100]!r} is no state; there are {states}.") from None


def _time(key: str, text: str | None, now: datetime) -> datetime | None:
    """A date and time (ISO 8601), or a duration before now."""
    if text is None:
        return None
    with suppress(ValueError, OverflowError):
        return now - parse_duration(text)
    for spelt in (text, text.replace(" ", "+")):  # a + that was not encoded has become a blank
        with suppress(ValueError, OverflowError):
            time = datetime.fromisoformat(spelt)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    example = (now - timedelta(days=1)).isoformat(timespec="seconds")
    raise BadRequest(
        f"{key}={text[:100]!r} is neither a time such as {example} nor a duration such as 2h."
    )


def _number(key: str, text: str, largest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= largest:
        return int(text)
    raise BadRequest(f"{key}={text[:100]!r} is not a number from 1 to {largest}.")
