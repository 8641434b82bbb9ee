"""What the mediator can tell about a ticket, for a person's list and for routing.

A ticket is parsed only to look at; the script gets its bytes as they came. Field names and their
grades are in docs/reference/securechange.md. SecureChange writes some of them nested
(`current_stage/name`) and Tufin documents them flat (`current_stage_name`): both are read, the
nested one first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mediator.errors import NotATicket
from mediator.model.policy import ANY, EMPTY
from mediator.model.xml import SMALL, Path, Unreadable, read_document

_PATHS: Mapping[str, tuple[Path, ...]] = {
    "id": (("id",),),
    "subject": (("subject",),),
    "priority": (("priority", "name"), ("priority",)),
    "requester": (("requester", "login"),),
    "requester_name": (("requester", "display_name"),),
    "first_step": (("open_request_stage", "name"), ("open_request_name",)),
    "comment": (("comment",),),
    "created": (("createDate",),),
    "updated": (("updateDate",),),
}
_STAGES: tuple[tuple[Path, Path], ...] = (
    (("current_stage", "name"), ("current_stage", "id")),
    (("current_stage_name",), ("current_stage_id",)),
    (("completion_data", "stage", "name"), ("completion_data", "stage", "id")),
    (("completion_step_name",), ("completion_step_id",)),
)
_WANTED = frozenset(path for paths in (*_PATHS.values(), *_STAGES) for path in paths)
_SECONDS_BELOW = 10**11
_MAX_DIGITS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """What a ticket says of itself. A field is None when the ticket lacks it or leaves it empty.

    Texts are trimmed and at most 1,000 characters long.
    """

    root: str = ""
    """local name of the root element; empty for an empty body"""
    bare: bool = True
    """nothing is inside the root, or there is no root"""
    id: str | None = None
    subject: str | None = None
    priority: str | None = None
    """the name, such as Normal"""
    step: str | None = None
    """on CREATE and ADVANCE the step just finished; on CLOSE and RESOLVE the last one"""
    step_id: str | None = None
    requester: str | None = None
    """login name"""
    requester_name: str | None = None
    first_step: str | None = None
    """the step in which the request was opened"""
    comment: str | None = None
    """what a person wrote on rejecting, cancelling or sending back"""
    created: datetime | None = None
    updated: datetime | None = None

    @property
    def is_test_button(self) -> bool:
        """Whether this is `<ticket_info/>`, which the Test button in SecureChange sends."""
        return self.root == "ticket_info" and self.bare


def read_ticket(body: bytes, *, roots: Sequence[str], small: int = SMALL) -> Ticket:
    """Look into `body`; `roots` are the accepted root elements, with `EMPTY` and `ANY` among them.

    A body of nothing but white space counts as empty; one of up to `small` bytes is read in one
    piece. Raises NotATicket.
    """
    if not body or body.isspace():
        if EMPTY not in roots:
            raise _not_a_ticket(f"it is empty, and this script takes {_listed(roots)}")
        return Ticket()

    def accept(root: str) -> None:
        if root not in roots and ANY not in roots:
            raise _not_a_ticket(
                f"its root element is <{_shown(root)}>, and this script takes {_listed(roots)}"
            )

    try:
        document = read_document(body, wanted=_WANTED, accept=accept, small=small)
    except Unreadable as error:
        raise _not_a_ticket(str(error)) from None
    found = {name: _first(document.texts, paths) for name, paths in _PATHS.items()}
    created, updated = (_date(found.pop(name)) for name in ("created", "updated"))
    step, step_id = _step(document.texts)
    return Ticket(
        root=document.root,
        bare=document.bare,
        step=step,
        step_id=step_id,
        created=created,
        updated=updated,
        **found,
    )


def _not_a_ticket(reason: str) -> NotATicket:
    return NotATicket(f"The body is not a ticket: {reason}.")


def _first(texts: Mapping[Path, str], paths: tuple[Path, ...]) -> str | None:
    return next((texts[path] for path in paths if texts.get(path)), None)


def _step(texts: Mapping[Path, str]) -> tuple[str | None, str | None]:
    """Name and id of one and the same step, the first that the ticket says anything about."""
    steps = [(texts.get(name) or None, texts.get(id_) or None) for name, id_ in _STAGES]
    return next((step for step in steps if any(step)), (None, None))


def _date(text: str | None) -> datetime | None:
    """Milliseconds since 1970, or None for nonsense.

    Old samples hold seconds; below 10^11 it can be nothing else (as milliseconds, March 1973).
    """
    if text is None or len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    seconds = number if number < _SECONDS_BELOW else number / 1000
    try:
        return datetime.fromtimestamp(seconds, UTC) if number else None
    except (OverflowError, ValueError, OSError):
        return None


def _shown(name: str) -> str:
    return "".join(letter for letter in name[:60] if letter.isprintable())


def _listed(roots: Sequence[str]) -> str:
    names = {EMPTY: "an empty body", ANY: "any XML document"}
    return " or ".join(names.get(root, f"<{root}>") for root in roots) or "nothing"
