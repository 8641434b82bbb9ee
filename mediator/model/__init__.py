"""What the mediator thinks about, without doing anything: no I/O, no clock."""

__all__ = [
    "answers",
    "delivery",
    "durations",
    "policy",
    "routing",
    "signatures",
    "ticket",
    "visible",
]
