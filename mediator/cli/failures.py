"""Errors of the command line, and the exit code of every error."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from mediator.errors import BadRequest, Forbidden, MediatorError, SettingsError, TooLarge

FAILED = 1
"""What was asked for did not happen."""
USAGE = 64
"""EX_USAGE of sysexits.h: no such command, option or value. The shim has the same codes."""
REJECTED = 65
"""EX_DATAERR: the ticket or the request was refused."""
NOT_NOW = 75
"""EX_TEMPFAIL: the mediator cannot be reached, or cannot take it now; try again."""
NOT_ALLOWED = 77
"""EX_NOPERM: the key or the token is not accepted, or may not do this."""
SETTINGS = 78
"""EX_CONFIG: the settings, a secret or a directory that they name are wrong."""
_BY_STATUS: Mapping[int, int] = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: REJECTED,
        HTTPStatus.UNAUTHORIZED: NOT_ALLOWED,
        HTTPStatus.FORBIDDEN: NOT_ALLOWED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: REJECTED,
        HTTPStatus.UNPROCESSABLE_ENTITY: REJECTED,
        HTTPStatus.TOO_MANY_REQUESTS: NOT_NOW,
        HTTPStatus.BAD_GATEWAY: NOT_NOW,
        HTTPStatus.SERVICE_UNAVAILABLE: NOT_NOW,
    }
)


class Failure(MediatorError):
    """What a command cannot do, as one sentence and an exit code."""

    def __init__(self, message: str, *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RequestRefused(Failure):
    """The mediator answered, and the answer is no."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, exit_code=_BY_STATUS.get(status, FAILED))
        self.answered = status
        """the HTTP status"""


def exit_code_of(error: MediatorError) -> int:
    """The exit code that tells a calling program what kind of error it was."""
    if isinstance(error, Failure):
        return error.exit_code
    if isinstance(error, SettingsError):
        return SETTINGS
    if isinstance(error, (BadRequest, TooLarge)):
        return REJECTED
    return NOT_ALLOWED if isinstance(error, Forbidden) else FAILED
