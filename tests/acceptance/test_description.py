"""Whatever the API's description allows or forbids, the API answers as it says.

schemathesis makes the requests: valid ones, broken ones, and sequences of them.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mediator.model.signatures import sign
from mediator.web.app import description
from tests.acceptance.conftest import running
from tests.support.mediator import KEY, OPERATOR, Mediator

_INTAKE = "/v1/scripts/{script}/deliveries"
CONFORMANCE = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(description())


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """One of its own: what is made up here cancels and retries whatever it finds."""
    with running(tmp_path_factory.mktemp("described")) as mediator:
        yield mediator


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(["-H", f"Authorization: Bearer {OPERATOR}"], id="as an operator"),
        pytest.param([], id="as nobody"),
    ],
)
def test_every_answer_is_as_described(described: Mediator, credentials: list[str]) -> None:
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{described.url}/v1/openapi.json",
            "--max-examples=8",
            "--generation-database=none",
            "--no-color",
            *credentials,
        ],
        capture_output=True,
        check=False,
        text=True,
        cwd=described.home,
        timeout=110,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert not described.events("request crashed")


class Signed(AuthBase):
    """Signs what is really sent."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body = request.body or b""
        assert isinstance(body, str | bytes)
        request.headers.update(
            sign(
                method=request.method or "",
                target=request.path_url,
                body=body.encode() if isinstance(body, str) else body,
                key=KEY,
                idempotency_key=uuid.uuid4().hex,
                now=datetime.now(UTC),
                nonce=uuid.uuid4().hex,
            )
        )
        return request


@schema.include(path=_INTAKE).parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_signed_hand_overs_are_answered_as_described(
    case: schemathesis.Case[Any], described: Mediator
) -> None:
    if len(str(case.path_parameters["script"])) % 2:
        case.path_parameters["script"] = "ok.sh"
        case.body = b"<ticket_info/>"
    response = case.call(base_url=described.url, auth=Signed())
    assert response.status_code != 401
    # Not whether it should have been accepted: a schema cannot say which documents are tickets.
    case.validate_response(response, checks=CONFORMANCE)
