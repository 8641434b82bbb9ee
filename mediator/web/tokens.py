"""Who may use the operator API: bearer tokens (RFC 6750) with a role."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from aiohttp import web

from mediator.errors import Forbidden, MediatorError, Unauthenticated
from mediator.settings.schema import Role
from mediator.web.middleware import TOLD
from mediator.web.services import SERVICES, Holder

_log = structlog.get_logger()
_SCHEME = "bearer "
_MAY = {
    Role.SENDER: {Role.SENDER, Role.OPERATOR},
    Role.VIEWER: {Role.VIEWER, Role.OPERATOR},
    Role.OPERATOR: {Role.OPERATOR},
}
"""What is needed → who has it."""


def require(request: web.Request, role: Role) -> Holder:
    """The caller, who has at least `role`. Raises `Unauthenticated` or `Forbidden`."""
    try:
        return _require(request, role)
    except MediatorError as error:
        request[TOLD] = True
        _log.warning(
            "request refused",
            method=request.method,
            path=request.path[:200],
            status=int(error.status),
            reason=error.detail,
            remote=request.remote,
        )
        raise


def _require(request: web.Request, role: Role) -> Holder:
    holder = _identify(request)
    if not may(holder, role):
        raise Forbidden(
            f"The token {holder.name} has the role {holder.role}; this needs the role {role}."
        )
    return holder


def _identify(request: web.Request) -> Holder:
    holders = request.app[SERVICES].holders
    if not holders:
        raise Unauthenticated(
            "The operator API is closed: auth.tokens in the settings names no token.",
            reason="token",
        )
    sent = request.headers.get("Authorization", "")
    if not sent.lower().startswith(_SCHEME):
        raise Unauthenticated(
            "This needs a bearer token: send Authorization: Bearer TOKEN.", reason="token"
        )
    token = sent[len(_SCHEME) :].strip()
    holder = holder_of(token, holders)
    if holder is None:
        raise Unauthenticated("The bearer token is not one of auth.tokens.", reason="token")
    return holder


def holder_of(token: str, holders: Iterable[Holder]) -> Holder | None:
    """Who holds this token."""
    # Every token is compared, so that the time says nothing about which one came close.
    found = [holder for holder in holders if holder.secret.matches(token)]
    return found[0] if found else None


def may(holder: Holder, role: Role) -> bool:
    """Whether the holder has at least `role`."""
    return holder.role in _MAY[role]
