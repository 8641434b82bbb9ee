"""The rules about what a signature must cover and carry, tried with signatures made by hand."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mediator.errors import Unauthenticated
from mediator.model.signatures import Key, Reason, Verified, Verifier

NOW = datetime(2025, 1, 15, 9, 16, 28, tzinfo=UTC)
KEY = Key(id="securechange", secret=b"0123456789abcdef0123456789abcdef")
OTHER = Key(id="next", secret=b"another secret of enough letters")
BODY = b"<ticket_info><id>4711</id></ticket_info>"
TARGET = "/v1/scripts/notify/deliveries?SCW_EVENT=ADVANCE&arg=first"
COMPONENTS = '"@method" "@request-target" "content-digest" "idempotency-key"'
PARAMETERS = 'created={now};keyid="securechange";nonce="n";alg="hmac-sha256";tag="mediator"'


@dataclass(frozen=True, kw_only=True)
class Request:
    headers: Mapping[str, str] = field(default_factory=dict)

    def verify(self) -> Verified:
        verifier = Verifier([KEY, OTHER], window=timedelta(seconds=300))
        return verifier.verify(method="POST", target=TARGET, headers=self.headers, now=NOW)

    def refusal(self) -> Unauthenticated:
        with pytest.raises(Unauthenticated) as refused:
            self.verify()
        return refused.value


def by_hand(
    *,
    components: str = COMPONENTS,
    parameters: str = PARAMETERS,
    label: str = "sig1",
    secret: bytes = KEY.secret,
) -> Request:
    """A request signed by nothing but HMAC, in whatever wrong way the caller likes."""
    digest = f"sha-256=:{b64encode(hashlib.sha256(BODY).digest()).decode()}:"
    values = {
        '"@method"': "POST",
        '"@request-target"': TARGET,
        '"content-digest"': digest,
        '"idempotency-key"': "abc",
    }
    covered = f"({components});" + parameters.format(now=int(NOW.timestamp()))
    lines = [f"{name}: {values.get(name, '')}" for name in components.split()]
    base = "\n".join([*lines, f'"@signature-params": {covered}'])
    signature = b64encode(hmac.digest(secret, base.encode(), "sha256")).decode()
    return Request(
        headers={
            "Content-Digest": digest,
            "Idempotency-Key": "abc",
            "Signature-Input": f"{label}={covered}",
            "Signature": f"{label}=:{signature}:",
        }
    )


def test_a_request_signed_by_nothing_but_hmac_is_accepted() -> None:
    assert by_hand().verify().key == KEY


def test_a_long_key_id_is_cut() -> None:
    refused = by_hand(
        parameters=f'created={{now}};keyid="{"k" * 999}";nonce="n";alg="hmac-sha256";tag="mediator"'
    ).refusal()
    assert "k" * 60 in str(refused)
    assert "k" * 61 not in str(refused)


@pytest.mark.parametrize(
    ("expires", "reason"),
    [(0, None), (1, None), (-1, Reason.EXPIRED), (-2_000_000_000, Reason.EXPIRED)],
    ids=["now", "soon", "just over", "long ago"],
)
def test_an_end_set_by_the_sender_counts(expires: int, reason: Reason | None) -> None:
    end = int(NOW.timestamp()) + expires
    request = by_hand(parameters=f"expires={end};{PARAMETERS}")
    if reason is None:
        assert request.verify().key == KEY
    else:
        assert request.refusal().reason == reason


@pytest.mark.parametrize("created", [0, -999_999_999_999_999, 999_999_999_999_999])
def test_an_absurd_time_is_only_outside_the_window(created: int) -> None:
    request = by_hand(parameters=PARAMETERS.replace("{now}", str(created)))
    assert request.refusal().reason == (Reason.FUTURE if created > 0 else Reason.EXPIRED)


@pytest.mark.parametrize("missing", ["created", "keyid", "nonce", "alg"])
def test_a_missing_parameter_is_named(missing: str) -> None:
    parts = {
        "created": "created={now}",
        "keyid": 'keyid="securechange"',
        "nonce": 'nonce="n"',
        "alg": 'alg="hmac-sha256"',
        "tag": 'tag="mediator"',
    }
    refused = by_hand(
        parameters=";".join(part for name, part in parts.items() if name != missing)
    ).refusal()
    assert refused.reason == Reason.MALFORMED
    assert str(refused) == f"The signature lacks the parameter {missing}."


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ('created={now};keyid="securechange";nonce="n";alg="hmac-sha256"', Reason.MALFORMED),
        (
            'created={now};keyid="securechange";nonce="n";alg="hmac-sha256";tag="other"',
            Reason.MALFORMED,
        ),
        (
            'created={now};keyid="securechange";nonce="n";alg="ed25519";tag="mediator"',
            Reason.ALGORITHM,
        ),
        (
            'created={now};keyid="securechange";nonce="n";alg="HMAC-SHA256";tag="mediator"',
            Reason.ALGORITHM,
        ),
        (
            'created={now}.5;keyid="securechange";nonce="n";alg="hmac-sha256";tag="mediator"',
            Reason.MALFORMED,
        ),
        (
            'created="{now}";keyid="securechange";nonce="n";alg="hmac-sha256";tag="mediator"',
            Reason.MALFORMED,
        ),
        (
            'created={now};keyid=securechange;nonce="n";alg="hmac-sha256";tag="mediator"',
            Reason.MALFORMED,
        ),
        (
            'created={now};keyid="securechange";nonce="";alg="hmac-sha256";tag="mediator"',
            Reason.MALFORMED,
        ),
        (
            PARAMETERS.replace('"n"', f'"{"n" * 201}"'),
            Reason.MALFORMED,
        ),
        (
            'created={now};keyid="securechange";nonce="n";alg="hmac-sha256";tag="mediator";x=1',
            Reason.MALFORMED,
        ),
    ],
    ids=[
        "no tag",
        "another tag",
        "another algorithm",
        "algorithm in capitals",
        "fractional time",
        "time as text",
        "key id as token",
        "empty nonce",
        "endless nonce",
        "unknown parameter",
    ],
)
def test_a_wrong_parameter_is_refused(parameters: str, reason: Reason) -> None:
    assert by_hand(parameters=parameters).refusal().reason == reason


@pytest.mark.parametrize(
    "components",
    [
        "",
        '"@method" "@request-target" "content-digest"',
        '"@method" "@request-target" "idempotency-key"',
        '"@method" "content-digest" "idempotency-key"',
        '"@request-target" "content-digest" "idempotency-key"',
        '"@method" "@path" "content-digest" "idempotency-key"',
        '"@method" "@request-target" "content-digest" "idempotency-key" "@authority"',
        '"@method" "@request-target" "content-digest" "idempotency-key" "content-type"',
        '"@method" "@method" "@request-target" "content-digest" "idempotency-key"',
        '"@method" "@request-target" "content-digest";sf "idempotency-key"',
        '"@method";req "@request-target" "content-digest" "idempotency-key"',
        '"@method" "@request-target" content-digest "idempotency-key"',
        '"@method" "@request-target" 1 "idempotency-key"',
        '"@METHOD" "@request-target" "content-digest" "idempotency-key"',
    ],
)
def test_a_signature_covers_exactly_the_four_components(components: str) -> None:
    refused = by_hand(components=components).refusal()
    assert refused.reason == Reason.COVERAGE
    assert str(refused) == (
        "The signature must cover exactly"
        ' ("@method" "@request-target" "content-digest" "idempotency-key").'
    )


def test_the_order_of_components_and_parameters_is_free() -> None:
    request = by_hand(
        components='"idempotency-key" "content-digest" "@request-target" "@method"',
        parameters='tag="mediator";alg="hmac-sha256";nonce="n";keyid="securechange";created={now}',
    )
    assert request.verify().key == KEY


def together(*requests: Request) -> Request:
    """One request with the signatures of several, on header lines of their own."""
    headers = CIMultiDict(requests[0].headers)
    for request in requests[1:]:
        headers.add("Signature-Input", request.headers["Signature-Input"])
        headers.add("Signature", request.headers["Signature"])
    return Request(headers=CIMultiDictProxy(headers))


def test_a_signature_meant_for_somebody_else_is_passed_over() -> None:
    other = by_hand(
        label="proxy", parameters='created=1;keyid="x";tag="proxy"', secret=OTHER.secret
    )
    assert together(by_hand(), other).verify().key == KEY
    assert together(other, by_hand()).verify().key == KEY


def test_two_signatures_meant_for_the_mediator_are_refused() -> None:
    refused = together(by_hand(), by_hand(label="sig2")).refusal()
    assert refused.reason == Reason.MALFORMED
    assert 'Two signatures of the request carry tag="mediator"' in str(refused)


def test_two_signatures_of_one_label_are_refused() -> None:
    assert together(by_hand(), by_hand()).refusal().reason == Reason.MALFORMED
