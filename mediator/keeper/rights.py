"""What the keeper must be allowed to do in SecureChange's namespace, and nothing more."""

from __future__ import annotations

KEEPER_RIGHTS: tuple[tuple[str, str], ...] = (
    ("list", "pods"),
    ("watch", "pods"),
    ("get", "pods/exec"),
    ("create", "pods/exec"),
    ("create", "events"),
)
"""Verb and resource, as RBAC names them. A WebSocket is opened by GET, so that older servers ask
for `get`, and since 1.35 a server asks for `create` besides (KEP-4006)."""
OPTIONAL = frozenset({("watch", "pods"), ("create", "events")})
"""Without these something is slower or unsaid, and nothing is undone."""
