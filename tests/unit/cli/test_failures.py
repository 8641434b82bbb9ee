"""Exit codes say whose turn it is."""

from __future__ import annotations

import pytest

from mediator.cli.failures import Failure, RequestRefused, exit_code_of
from mediator.errors import (
    BadRequest,
    Forbidden,
    MediatorError,
    NotATicket,
    NotFound,
    NotReady,
    SettingsError,
    TooLarge,
)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *[(status, 65) for status in (400, 413, 422)],
        *[(status, 77) for status in (401, 403)],
        *[(status, 75) for status in (429, 502, 503)],
        *[(status, 1) for status in (302, 404, 409, 418, 500, 504, 599)],
    ],
)
def test_an_answer_has_an_exit_code(status: int, code: int) -> None:
    assert exit_code_of(RequestRefused("no", status=status)) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("x"), 78),
        (NotATicket("x"), 65),
        (BadRequest("x"), 65),
        (TooLarge("x"), 65),
        (Forbidden("x"), 77),
        (NotFound("x"), 1),
        (NotReady("x"), 1),
        (MediatorError("x"), 1),
        (Failure("x", exit_code=75), 75),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_has_an_exit_code(error: MediatorError, code: int) -> None:
    assert exit_code_of(error) == code
