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
    word = "error"
    """stands for this kind of error in metrics"""
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
    word = "bad_request"


class NotATicket(BadRequest):
    """The body is not a ticket that this kind of script takes."""

    word = "not_a_ticket"


class Unauthenticated(MediatorError):
    """The request proves nobody's identity. `reason` is a metric label from a closed set."""

    status = HTTPStatus.UNAUTHORIZED
    word = "unauthenticated"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Forbidden(MediatorError):
    """The caller is known but may not do this."""

    status = HTTPStatus.FORBIDDEN
    word = "forbidden"


class NotFound(MediatorError):
    """No such script or delivery."""

    status = HTTPStatus.NOT_FOUND
    word = "not_found"


class NotReady(MediatorError):
    """The script exists but cannot run; the message says why."""

    status = HTTPStatus.CONFLICT
    word = "not_ready"


class Conflict(MediatorError):
    """The delivery is in a state that does not allow this."""

    status = HTTPStatus.CONFLICT
    word = "conflict"


class TooLarge(MediatorError):
    """The body is over the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    word = "too_large"


class TooSlow(MediatorError):
    """The body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    word = "too_slow"


class KeyReused(MediatorError):
    """An Idempotency-Key came again with other content."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    word = "key_reused"


class ScriptFailed(MediatorError):
    """An interactive script ended without an answer that SecureChange could use."""

    status = HTTPStatus.BAD_GATEWAY
    word = "script_failed"


class DeadlineMissed(MediatorError):
    """An interactive script did not end while its caller waited."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    word = "deadline_missed"


class Unavailable(MediatorError):
    """The mediator cannot take this now, but will later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    word = "unavailable"
    retry_after = 5


class StoreUnavailable(Unavailable):
    """The store cannot be written or read now; nothing was half-stored."""

    word = "store_unavailable"


class Full(Unavailable):
    """The mediator has no room for more, whichever script it is for."""

    word = "full"
    retry_after = 10


class Crowded(MediatorError):
    """There is no room for more of one script."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    word = "crowded"
    retry_after = 10


class Draining(Unavailable):
    """The daemon is shutting down."""

    word = "draining"
