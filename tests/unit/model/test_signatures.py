from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mediator.errors import Unauthenticated
from mediator.model.signatures import (
    Key,
    Reason,
    RuledVerifier,
    SignedMessage,
    Verified,
    Verifier,
    check_body,
    sign,
)

VECTOR = json.loads((Path(__file__).parents[2] / "samples" / "signature_vector.json").read_text())
NOW = datetime(2025, 1, 15, 9, 16, 28, tzinfo=UTC)
WINDOW = timedelta(seconds=300)
KEY = Key(id="securechange", secret=b"0123456789abcdef0123456789abcdef")
OTHER = Key(id="next", secret=b"another secret of enough letters")
BODY = b"<ticket_info><id>4711</id></ticket_info>"
TARGET = "/v1/scripts/notify/deliveries?SCW_EVENT=ADVANCE&arg=first"


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str = "POST"
    target: str = TARGET
    headers: Mapping[str, str] = field(default_factory=dict)

    def verify(self, *keys: Key, now: datetime = NOW) -> Verified:
        verifier = Verifier(keys or (KEY, OTHER), window=WINDOW)
        return verifier.verify(
            method=self.method, target=self.target, headers=self.headers, now=now
        )

    def refusal(self, *keys: Key, now: datetime = NOW) -> Unauthenticated:
        with pytest.raises(Unauthenticated) as refused:
            self.verify(*keys, now=now)
        return refused.value

    def with_header(self, name: str, change: Callable[[str], str]) -> Request:
        return replace(self, headers={**self.headers, name: change(self.headers[name])})


def signed(*, target: str = TARGET, key: Key = KEY, now: datetime = NOW) -> Request:
    headers = sign(
        method="POST",
        target=target,
        body=BODY,
        key=key,
        idempotency_key="8e03978e-40d5-43e8-bc93-6894a57f9324",
        now=now,
        nonce="b3k2pp5k7z-50gnwp.yemd",
    )
    return Request(target=target, headers=headers)


def test_a_signed_request_proves_its_key_idempotency_key_and_digest() -> None:
    assert signed().verify() == Verified(
        key=KEY,
        idempotency_key="8e03978e-40d5-43e8-bc93-6894a57f9324",
        digest=hashlib.sha256(BODY).digest(),
    )


def test_the_vector_for_writers_of_clients_is_accepted_and_made_again() -> None:
    key = Key(id=VECTOR["key_id"], secret=VECTOR["secret"].encode())
    now = datetime.fromtimestamp(VECTOR["now"], UTC)
    request = Request(method=VECTOR["method"], target=VECTOR["target"], headers=VECTOR["headers"])
    verified = request.verify(key, now=now)
    check_body(verified.digest, VECTOR["body"].encode())
    base = VECTOR["signature_base"].encode()
    signature = b64encode(hmac.digest(key.secret, base, "sha256")).decode()
    assert VECTOR["headers"]["Signature"] == f"mediator=:{signature}:"


def test_the_hmac_example_of_the_standard_is_accepted() -> None:
    """RFC 9421 appendix B.2.5; it covers other components, so only our rules are left out."""

    class Lenient(RuledVerifier):
        def validate_created_and_expires(self, *_: object, **__: object) -> None:
            pass

    shared = (
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
    )
    key = Key(id="test-shared-secret", secret=b64decode(shared))
    message = SignedMessage(
        method="POST",
        request_target="/foo?param=Value&Pet=dog",
        url="https://example.com/foo?param=Value&Pet=dog",
        headers={
            "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
            "Content-Type": "application/json",
            "Signature-Input": 'sig-b25=("date" "@authority" "content-type")'
            ';created=1618884473;keyid="test-shared-secret"',
            "Signature": "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
        },
    )
    verifier = Lenient({key.id: key}, window=WINDOW, now=NOW)
    (result,) = verifier.verify(message, max_age=None)
    assert result.parameters["keyid"] == "test-shared-secret"


@pytest.mark.parametrize(
    "target",
    [
        "/v1/scripts/%2e%2e/deliveries",
        "/v1/scripts/%2E%2E/deliveries",
        "/v1/scripts/%41/deliveries?arg=%41",
        "/v1//scripts/./../a/deliveries",
        "/v1/scripts/a/deliveries?",
        "/v1/scripts/a/deliveries?arg=a+b&arg=a%20b&arg=",
        "/v1/scripts/a/deliveries?arg=%",
        "/v1/scripts/a/deliveries?arg=%zz&;=#'\"<>[]{}|\\^`",
        "*",
        "http://mediator.example.test:8080/v1/scripts/a/deliveries?x=1",
    ],
)
def test_the_target_is_signed_exactly_as_it_is_sent(target: str) -> None:
    assert signed(target=target).verify().key == KEY


@pytest.mark.parametrize(
    ("sent", "arrived"),
    [
        ("/a/%2e%2e/b", "/a/%2E%2E/b"),
        ("/a/%2e%2e/b", "/a/../b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a?arg=%41", "/a?arg=A"),
        ("/a?arg=a+b", "/a?arg=a%20b"),
        ("/a//b", "/a/b"),
        ("/a?", "/a"),
        ("/a?x=1&y=2", "/a?y=2&x=1"),
        ("/a", "/A"),
        ("/a", "http://mediator.example.test/a"),
    ],
)
def test_a_target_that_means_the_same_is_not_the_same(sent: str, arrived: str) -> None:
    request = replace(signed(target=sent), target=arrived)
    assert request.refusal().reason == Reason.MISMATCH


def flip(text: str) -> str:
    """Change one Base64 letter inside `text` so that it stays well-formed."""
    at = text.index("=:") + 4
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: replace(r, method="PUT"), Reason.MISMATCH),
        (lambda r: replace(r, target=TARGET.replace("notify", "notifx")), Reason.MISMATCH),
        (lambda r: replace(r, target=TARGET.replace("ADVANCE", "CREATE")), Reason.MISMATCH),
        (lambda r: replace(r, target=TARGET.replace("first", "other")), Reason.MISMATCH),
        (lambda r: replace(r, target=TARGET + "&arg=second"), Reason.MISMATCH),
        (lambda r: r.with_header("Content-Digest", flip), Reason.MISMATCH),
        (lambda r: r.with_header("Idempotency-Key", lambda v: v[:-1] + "x"), Reason.MISMATCH),
        (lambda r: r.with_header("Signature", flip), Reason.MISMATCH),
        (lambda r: r.with_header("Signature", lambda _: "mediator=:AAAA:"), Reason.MISMATCH),
        (lambda r: r.with_header("Signature", lambda _: "mediator=::"), Reason.MISMATCH),
        (
            lambda r: r.with_header("Signature-Input", lambda v: v.replace("yemd", "yeme")),
            Reason.MISMATCH,
        ),
        (
            lambda r: r.with_header(
                "Signature-Input", lambda v: v.replace("1736932588", "1736932589")
            ),
            Reason.MISMATCH,
        ),
        (
            lambda r: r.with_header("Signature-Input", lambda v: v + ";expires=1736932700"),
            Reason.MISMATCH,
        ),
        (
            lambda r: r.with_header("Signature-Input", lambda v: v.replace("securechange", "next")),
            Reason.MISMATCH,
        ),
        (
            lambda r: r.with_header(
                "Signature-Input",
                lambda v: v.replace('"@method" "@request-target"', '"@request-target" "@method"'),
            ),
            Reason.MISMATCH,
        ),
    ],
    ids=[
        "method",
        "script",
        "event",
        "argument",
        "another argument",
        "digest",
        "idempotency key",
        "signature",
        "short signature",
        "empty signature",
        "nonce",
        "created",
        "expires",
        "key id",
        "order of components",
    ],
)
def test_whatever_is_changed_on_the_way_is_noticed(
    change: Callable[[Request], Request], reason: Reason
) -> None:
    assert change(signed()).refusal().reason == reason


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b" ", BODY.replace(b"4711", b"4712")])
def test_another_body_is_noticed(body: bytes) -> None:
    verified = signed().verify()
    check_body(verified.digest, BODY)
    with pytest.raises(Unauthenticated) as refused:
        check_body(verified.digest, body)
    assert refused.value.reason == Reason.DIGEST


def test_a_wrong_secret_is_explained() -> None:
    wrong = Key(id=KEY.id, secret=OTHER.secret)
    refused = signed(key=wrong).refusal()
    assert refused.reason == Reason.MISMATCH
    assert str(refused) == (
        "The signature does not fit the request: the secret of key 'securechange' differs on the"
        " two sides, or something on the way (a proxy) changed the method, the address or a signed"
        " header."
    )


def test_an_unknown_key_is_named_but_not_the_known_ones() -> None:
    refused = signed(key=Key(id="stranger", secret=KEY.secret)).refusal()
    assert refused.reason == Reason.UNKNOWN_KEY
    assert str(refused) == (
        "The mediator has no key with the id 'stranger'; compare MEDIATOR_KEY_ID of the sender"
        " with auth.keys of the mediator."
    )


def test_two_keys_are_good_at_once_while_a_secret_is_changed() -> None:
    assert signed(key=KEY).verify(KEY, OTHER).key == KEY
    assert signed(key=OTHER).verify(KEY, OTHER).key == OTHER
    assert signed(key=KEY).refusal(OTHER).reason == Reason.UNKNOWN_KEY


def test_two_keys_of_one_id_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two keys have the id 'securechange'"):
        Verifier([KEY, KEY], window=WINDOW)


def test_a_secret_that_could_be_guessed_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter than 32 bytes"):
        Key(id="a", secret=b"secret")


def test_a_key_never_shows_its_secret() -> None:
    assert "0123456789" not in repr(signed().verify())


def test_a_key_opens_the_scripts_it_is_limited_to() -> None:
    assert KEY.opens("anything.py")
    limited = Key(id="a", secret=KEY.secret, scripts=frozenset({"notify.py"}))
    assert limited.opens("notify.py")
    assert not limited.opens("other.py")


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_clock_within_the_window_is_accepted(seconds: int) -> None:
    assert signed().verify(now=NOW + timedelta(seconds=seconds)).key == KEY


@pytest.mark.parametrize(
    ("seconds", "reason", "words"),
    [
        (301, Reason.EXPIRED, "the sender's clock is 301 seconds behind"),
        (-301, Reason.FUTURE, "The sender's clock is 301 seconds ahead of the mediator's"),
        (7200, Reason.EXPIRED, "signed 7200 seconds ago by the mediator's clock"),
        (-7200, Reason.FUTURE, "300 seconds are allowed"),
    ],
)
def test_a_clock_outside_the_window_is_refused_and_the_difference_named(
    seconds: int, reason: Reason, words: str
) -> None:
    refused = signed().refusal(now=NOW + timedelta(seconds=seconds))
    assert refused.reason == reason
    assert words in str(refused)


@pytest.mark.parametrize(
    "name", ["Signature", "Signature-Input", "Content-Digest", "Idempotency-Key"]
)
def test_a_missing_header_is_named(name: str) -> None:
    headers = {key: value for key, value in signed().headers.items() if key != name}
    refused = Request(headers=headers).refusal()
    assert refused.reason == Reason.MISSING
    assert str(refused) == f"The request is not signed: it has no {name} header."


@pytest.mark.parametrize("name", ["Content-Digest", "Idempotency-Key", "idempotency-KEY"])
def test_a_doubled_header_is_refused(name: str) -> None:
    headers = CIMultiDict(signed().headers)
    headers.add(name, headers[name])
    refused = Request(headers=CIMultiDictProxy(headers)).refusal()
    assert refused.reason == Reason.MALFORMED
    assert "send exactly one" in str(refused)


def test_other_headers_do_not_matter() -> None:
    request = replace(signed(), headers={"Host": "m", **signed().headers, "X-Forwarded-For": "ü"})
    assert request.verify().key == KEY


def test_header_names_count_in_any_case() -> None:
    headers = {name.upper(): value for name, value in signed().headers.items()}
    assert Request(headers=headers).verify().key == KEY


@pytest.mark.parametrize(
    "value", ["", "a b", "a" * 201, "schlüssel", "a\tb", "a\nb", "\x7f"], ids=repr
)
def test_an_idempotency_key_is_short_and_visible(value: str) -> None:
    request = signed().with_header("Idempotency-Key", lambda _: value)
    assert request.refusal().reason == Reason.MALFORMED


@pytest.mark.parametrize("value", ["!", "a" * 200, "~" * 200], ids=["one", "letters", "tildes"])
def test_an_idempotency_key_may_have_200_visible_characters(value: str) -> None:
    headers = sign(
        method="POST",
        target=TARGET,
        body=b"",
        key=KEY,
        idempotency_key=value,
        now=NOW,
        nonce="n",
    )
    assert Request(headers=headers).verify().idempotency_key == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=abc",
        "sha-256=:abc:",
        "sha-256=::",
        "sha-256=:AAAA:",
        "sha-512=:AAAA:",
        "SHA-256=:CB9fqmtIRDOZhxrG0UURgU3wXpArUKWNTjO+k7j0YG0=:",
        "sha-256=:CB9fqmtIRDOZhxrG0UURgU3wXpArUKWNTjO-k7j0YG0=:",
        "sha-256=:CB9fqmtIRDOZhxrG0UURgU3wXpArUKWNTjO+k7j0YG0=:;q=1",
        ", ".join(["sha-256=:CB9fqmtIRDOZhxrG0UURgU3wXpArUKWNTjO+k7j0YG0=:"] * 2),
    ],
    ids=[
        "empty",
        "no value",
        "token",
        "no padding",
        "empty value",
        "short",
        "another algorithm",
        "capitals",
        "URL Base64",
        "parameter",
        "twice",
    ],
)
def test_a_content_digest_is_one_sha_256(value: str) -> None:
    request = signed().with_header("Content-Digest", lambda _: value)
    assert request.refusal().reason == Reason.MALFORMED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: replace(r, method="post"), Reason.MALFORMED),
        (lambda r: replace(r, method=""), Reason.MISMATCH),
        (lambda r: replace(r, target="/größe"), Reason.MALFORMED),
        (lambda r: replace(r, target="/a\nb"), Reason.MALFORMED),
        (lambda r: replace(r, target="/a\udcff"), Reason.MALFORMED),
        (lambda r: replace(r, target=""), Reason.MISMATCH),
    ],
    ids=["small letters", "no method", "letters", "line", "surrogate", "no target"],
)
def test_a_strange_request_line_is_refused(
    change: Callable[[Request], Request], reason: Reason
) -> None:
    assert change(signed()).refusal().reason == reason
