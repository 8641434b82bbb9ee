"""Every error answers two questions: whose fault is it, and is another try worth it.

`status` is the HTTP status that intake answers with (whose fault); `retry_after` in seconds is set
where the same request may succeed later. The message is one sentence for the person who reads it:
what, where, and what to do. It never holds a ticket body or a secret.
"""

from __future__ import annotations

from http import HTTPStatus


class MediatorError(Exception):
    """The root of all errors the mediator raises on purpose."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    retry_after: int | None = None
    delivery: str = ""
    """id of the delivery that is kept all the same: sending it again does not run it again"""

    @property
    def detail(self) -> str:
        """The sentence for a person."""
        return str(self)


class SettingsError(MediatorError):
    """The settings or a file they name are wrong; the daemon refuses to start."""


class BadRequest(MediatorError):
    """The request itself is malformed."""

    status = HTTPStatus.BAD_REQUEST


class NotATicket(BadRequest):
    """The body is not a ticket that this kind of script takes."""


class Unauthenticated(MediatorError):
    """The request proves nobody's identity. `reason` is a metric label from a closed set."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Forbidden(MediatorError):
    """The caller is known but may not do this."""

    status = HTTPStatus.FORBIDDEN


class NotFound(MediatorError):
    """No such script or delivery."""

    status = HTTPStatus.NOT_FOUND


class NotReady(MediatorError):
    """The script exists but cannot run; the message says why."""

    status = HTTPStatus.CONFLICT


class Conflict(MediatorError):
    """The delivery is in a state that does not allow this."""

    status = HTTPStatus.CONFLICT


class TooLarge(MediatorError):
    """The body is over the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class TooSlow(MediatorError):
    """The body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT


class KeyReused(MediatorError):
    """An Idempotency-Key came again with other content."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class ScriptFailed(MediatorError):
    """An interactive script ended without an answer that SecureChange could use."""

    status = HTTPStatus.BAD_GATEWAY


class DeadlineMissed(MediatorError):
    """An interactive script did not end while its caller waited."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class Unavailable(MediatorError):
    """The mediator cannot take this now, but will later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 5


class StoreUnavailable(Unavailable):
    """The store cannot be written or read now; nothing was half-stored."""


class Full(Unavailable):
    """The mediator has no room for more, whichever script it is for."""

    retry_after = 10


class Crowded(MediatorError):
    """There is no room for more of one script."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    retry_after = 10


class Draining(Unavailable):
    """The daemon is shutting down."""
