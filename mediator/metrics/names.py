"""Which scripts a label may name: a closed set, whatever is sent and whatever the store holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

OTHER = "other"
"""Stands for a script that is no longer there, and for an event that nobody knows."""

EVENTS = frozenset(
    {
        "TEST",
        "CREATE",
        "CLOSE",
        "CANCEL",
        "REJECT",
        "ADVANCE",
        "REDO",
        "RESUBMIT",
        "REOPEN",
        "RESOLVE",
        "AUTOMATION_FAILED",
        "PRE_ASSIGNMENT_SCRIPT",
    }
)
"""Values of `SCW_EVENT`; see docs/reference/securechange.md."""
NO_EVENT = "none"


class ScriptNames:
    """The scripts of the catalog."""

    def __init__(self) -> None:
        self._known: Mapping[str, bool] | None = None

    @property
    def calls(self) -> Iterable[tuple[str, bool]]:
        """The scripts that are known, each with whether a person waits for its answer."""
        return (self._known or {}).items()

    def know(self, scripts: Mapping[str, bool]) -> None:
        """These are the scripts there are now; the value: whether a person waits."""
        self._known = dict(scripts)

    def label(self, script: str) -> str:
        """The script's name, or `other`; before anything is known every name is taken."""
        return script if self._known is None or script in self._known else OTHER


def event_label(event: str) -> str:
    """A value of `SCW_EVENT`, `none` where it was not set, or `other`."""
    if not event:
        return NO_EVENT
    return event if event in EVENTS else OTHER


def calls_label(*, interactive: bool) -> str:
    """Who waits: `interactive` - a person does; `trigger` - nobody."""
    return "interactive" if interactive else "trigger"
