"""Times of the mediator's documents, as a person at this place reads them."""

from __future__ import annotations

from datetime import datetime


def short(text: str | None, *, now: datetime) -> str:
    """Local date and time without the year where it is this one; `-` for None."""
    if text is None:
        return "-"
    time = datetime.fromisoformat(text).astimezone()
    form = "%m-%d %H:%M:%S" if time.year == now.astimezone().year else "%Y-%m-%d %H:%M"
    return time.strftime(form)


def exact(text: str | None) -> str:
    """Local time to the millisecond, with the time zone; `-` for None."""
    if text is None:
        return "-"
    return datetime.fromisoformat(text).astimezone().isoformat(sep=" ", timespec="milliseconds")
