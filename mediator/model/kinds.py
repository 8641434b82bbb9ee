"""The kinds of script SecureChange knows, and what it sends to each.

Sources and their grades are in docs/securechange.md; `roots` can be changed per script, because
what SecureChange sends is officially documented for some kinds only.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

EMPTY = "empty"
"""In a list of accepted roots: no body at all."""
ANY = "*"
"""In a list of accepted roots: any well-formed document."""


class Kind(StrEnum):
    """What SecureChange expects of a script."""

    TRIGGER = "trigger"
    PRE_ASSIGNMENT = "pre-assignment"
    CONDITION = "condition"
    ASSIGNMENT = "assignment"
    RISK_ANALYSIS = "risk-analysis"
    VALIDATION = "validation"

    @property
    def interactive(self) -> bool:
        """Whether SecureChange waits for the script's answer."""
        return self is not Kind.TRIGGER


ROOTS = MappingProxyType(
    {
        Kind.TRIGGER: ("ticket_info",),
        Kind.PRE_ASSIGNMENT: ("ticket_info",),
        Kind.CONDITION: ("ticket_info", EMPTY),
        Kind.ASSIGNMENT: ("ticket_info", "scripted_decommission_task_request", EMPTY),
        Kind.RISK_ANALYSIS: ("field_info", "ticket_info", EMPTY),
        Kind.VALIDATION: (ANY, EMPTY),
    }
)
"""Root elements each kind takes by default."""

ANSWERS = MappingProxyType(
    {
        Kind.TRIGGER: (),
        Kind.PRE_ASSIGNMENT: (),
        Kind.CONDITION: ("response",),
        Kind.ASSIGNMENT: ("tasks",),
        Kind.RISK_ANALYSIS: ("external_risk_analysis_result",),
        Kind.VALIDATION: (),
    }
)
"""Root elements of which each kind must print one; empty: SecureChange takes no answer."""
