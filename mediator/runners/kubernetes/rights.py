"""What the runner must be allowed to do in the namespace of its Jobs, and nothing more."""

from __future__ import annotations

RIGHTS: tuple[tuple[str, str], ...] = (
    ("create", "jobs"),
    ("delete", "jobs"),
    ("get", "jobs"),
    ("list", "jobs"),
    ("patch", "jobs"),
    ("watch", "jobs"),
    ("list", "pods"),
    ("watch", "pods"),
    ("get", "pods/log"),
    ("create", "secrets"),
    ("list", "events"),
)
"""Verb and resource, as RBAC names them; jobs are of the group batch, the others of the core."""
