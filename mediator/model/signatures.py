"""Prove who sent a request and that nothing of it was changed on the way.

HTTP Message Signatures (RFC 9421) with `hmac-sha256`, the body bound by Content-Digest (RFC 9530).
The secret never travels. A signature can be checked before the body is read; `check_body` then
compares the body. A request heard on the way and sent again within the window carries the same
Idempotency-Key, so it is the delivery that already exists.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    MappingKeyResolver,
)
from http_message_signatures.algorithms import HMAC_SHA256

from mediator.errors import Unauthenticated

TAG = "mediator"
"""Marks the one signature of a message that is meant for the mediator."""
COMPONENTS = ("@method", "@request-target", "content-digest", "idempotency-key")
"""What a signature covers, exactly, in any order, without component parameters."""
MIN_SECRET = 32
"""Bytes of the shortest secret; the settings say so more politely."""
MAX_FIELD = 4096
"""Characters of one of the headers; ours have about 250."""
_FIELDS = {
    "signature-input": "Signature-Input",
    "signature": "Signature",
    "content-digest": "Content-Digest",
    "idempotency-key": "Idempotency-Key",
}
_LISTS = frozenset({"signature-input", "signature"})  # several lines of these are one list
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,200}")
_DIGEST = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):")
_PARAMETERS = ("created", "keyid", "nonce", "alg", "tag")
_MAX_NONCE = 200
_SHOWN = 60


class Reason(StrEnum):
    """Why a request was not authenticated: `reason` of errors.Unauthenticated, a metric label."""

    MISSING = "missing"
    """a header that carries the signature is not there"""
    MALFORMED = "malformed"
    """a header cannot be read, is doubled, or lacks a part"""
    UNKNOWN_KEY = "unknown_key"
    """no key has this id"""
    ALGORITHM = "algorithm"
    """not hmac-sha256"""
    COVERAGE = "coverage"
    """the signature covers something else than it must"""
    EXPIRED = "expired"
    """signed too long ago, or past the end the sender set"""
    FUTURE = "future"
    """signed later than now"""
    MISMATCH = "mismatch"
    """the secret differs, or the request was changed on the way"""
    DIGEST = "digest"
    """the body is not the one that was signed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One secret. Raises ValueError when it is too short to be one."""

    id: str
    """named in each request, in logs and in errors; not a secret"""
    secret: bytes = field(repr=False)
    scripts: frozenset[str] | None = None
    """the only scripts it may hand tickets to, or None for all"""

    def __post_init__(self) -> None:
        """Refuse a secret that could be guessed."""
        if len(self.secret) < MIN_SECRET:
            raise ValueError(f"the secret of key {self.id!r} is shorter than {MIN_SECRET} bytes")

    def opens(self, script: str) -> bool:
        """Whether the key may hand tickets to `script` (its file name)."""
        return self.scripts is None or script in self.scripts


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What a good signature proves."""

    key: Key
    idempotency_key: str
    digest: bytes
    """SHA-256 of the body that was signed, for `check_body`"""


class Verifier:
    """Knows the keys. Several at once let a secret be changed without a gap."""

    def __init__(self, keys: Iterable[Key], *, window: timedelta) -> None:
        """Take the keys; `window` is how far `created` may be from now, both ways.

        Raises ValueError when two keys have the same id.
        """
        self._keys: dict[str, Key] = {}
        self._window = window
        for key in keys:
            if key.id in self._keys:
                raise ValueError(f"two keys have the id {key.id!r}")
            self._keys[key.id] = key

    def verify(
        self, *, method: str, target: str, headers: Mapping[str, str], now: datetime
    ) -> Verified:
        """Check the signature; the body can still be unread.

        `target` is the request target exactly as it was sent (RFC 9421 section 2.2.5), `headers`
        may hold a name several times. Raises Unauthenticated, whose `reason` is a `Reason`.
        """
        fields = _fields(headers)
        digest = _digest(fields["content-digest"])
        idempotency_key = fields["idempotency-key"]
        if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            _malformed("Idempotency-Key must be 1 to 200 visible ASCII characters")
        message = SignedMessage(method=method, request_target=target, headers=fields)
        key = self._check(message, now)
        return Verified(key=key, idempotency_key=idempotency_key, digest=digest)

    def _check(self, message: SignedMessage, now: datetime) -> Key:
        verifier = RuledVerifier(self._keys, window=self._window, now=now)
        try:
            verifier.verify(message, max_age=None, expect_tag=TAG)
        except HTTPMessageSignaturesException as error:
            if verifier.key is None or _unusable(error):
                _malformed(f"its signature cannot be checked: {str(error)[:200]}")
            raise Unauthenticated(
                "The signature does not fit the request: the secret of key"
                f" {verifier.key.id!r} differs on the two sides, or something on the way (a proxy)"
                " changed the method, the address or a signed header.",
                reason=Reason.MISMATCH,
            ) from error
        assert verifier.key is not None  # noqa: S101 - no error means that the rules were applied
        return verifier.key


def check_body(digest: bytes, body: bytes) -> None:
    """Compare the body with the digest that was signed, in constant time.

    Raises Unauthenticated with reason `digest`.
    """
    if not hmac.compare_digest(hashlib.sha256(body).digest(), digest):
        raise Unauthenticated(
            "The body is not the one that was signed: its SHA-256 differs from Content-Digest;"
            " something on the way changed or cut it.",
            reason=Reason.DIGEST,
        )


def sign(
    *,
    method: str,
    target: str,
    body: bytes,
    key: Key,
    idempotency_key: str,
    now: datetime,
    nonce: str,
) -> dict[str, str]:
    """The four headers that make a request provable.

    `target` must be sent exactly as it is given here, `nonce` be fresh for each request.
    """
    headers = {"Idempotency-Key": idempotency_key}
    signer = HTTPMessageSigner(
        signature_algorithm=HMAC_SHA256,
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={key.id: key.secret}),
    )
    signer.sign(
        SignedMessage(method=method, request_target=target, headers=headers),
        key_id=key.id,
        created=now,
        nonce=nonce,
        label=TAG,
        tag=TAG,
        covered_component_ids=COMPONENTS,
        body=body,
    )
    return headers


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedMessage:
    """A request as the library wants it. Nothing that is signed comes from `url`."""

    method: str
    request_target: str
    headers: MutableMapping[str, str]
    url: str = "http://mediator.invalid/"


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    """The four headers, each as one value by its lower-case name. Raises Unauthenticated."""
    lines: dict[str, list[str]] = {name: [] for name in _FIELDS}
    for name, value in headers.items():
        if (lower := name.lower()) in lines:
            lines[lower].append(value.strip(" \t"))
    missing = [_FIELDS[name] for name, values in lines.items() if not values]
    if missing:
        raise Unauthenticated(
            f"The request is not signed: it has no {' and no '.join(missing)} header.",
            reason=Reason.MISSING,
        )
    return {name: _one(name, values) for name, values in lines.items()}


def _one(name: str, values: list[str]) -> str:
    if len(values) > 1 and name not in _LISTS:
        _malformed(f"there are {len(values)} {_FIELDS[name]} headers; send exactly one")
    value = ", ".join(values)
    if len(value) > MAX_FIELD:
        _malformed(f"{_FIELDS[name]} is longer than {MAX_FIELD} characters")
    if not (value.isascii() and value.isprintable()):
        _malformed(f"{_FIELDS[name]} has characters that are not visible ASCII")
    return value


def _digest(value: str) -> bytes:
    """The SHA-256 in Content-Digest (RFC 9530 section 2). Raises Unauthenticated."""
    members = [_DIGEST.fullmatch(member.strip(" ")) for member in value.split(",")]
    found = [member[2] for member in members if member and member[1] == "sha-256"]
    if not all(members) or len(found) != 1:
        _malformed("Content-Digest must be sha-256=:BASE64:")
    try:
        digest = a2b_base64(found[0], strict_mode=True)
    except NotBase64:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        _malformed("the sha-256 in Content-Digest is not the Base64 of 32 bytes")
    return digest


def _unusable(error: HTTPMessageSignaturesException) -> bool:
    """Whether the library could not even build what was signed.

    When only the bytes of the signature are wrong, it passes on the error of the HMAC.
    """
    return error.__cause__ is None or isinstance(error.__cause__, HTTPMessageSignaturesException)


def _malformed(what: str) -> NoReturn:
    raise Unauthenticated(f"The request is signed wrongly: {what}.", reason=Reason.MALFORMED)


class RuledVerifier(HTTPMessageVerifier):
    """The library's verifier with the mediator's rules and somebody else's clock.

    Good for one message. The library calls `validate_created_and_expires` first, for each
    signature with the expected tag, and lets errors of it through.
    """

    def __init__(self, keys: Mapping[str, Key], *, window: timedelta, now: datetime) -> None:
        secrets = {key_id: key.secret for key_id, key in keys.items()}
        super().__init__(
            signature_algorithm=HMAC_SHA256,
            key_resolver=MappingKeyResolver(public_keys=secrets, private_keys={}),
        )
        self.key: Key | None = None
        """the key the message names, once its signature has passed the rules"""
        self._keys = keys
        self._window = window.total_seconds()
        self._now = now.timestamp()

    def validate_created_and_expires(
        self,
        sig_input: Any,
        max_age: timedelta | None = None,  # noqa: ARG002 - the window is ours
    ) -> None:
        """Apply every rule. Raises Unauthenticated for the first that is broken."""
        if self.key is not None:
            raise Unauthenticated(
                f'Two signatures of the request carry tag="{TAG}"; send exactly one.',
                reason=Reason.MALFORMED,
            )
        parameters: Mapping[str, Any] = sig_input.params
        _require_parameters(parameters)
        _require_components([(item.value, bool(item.params)) for item in sig_input])
        key = _named(self._keys, parameters["keyid"])
        self._require_time(parameters["created"], parameters.get("expires"))
        self.key = key

    def _require_time(self, created: int, expires: int | None) -> None:
        age = self._now - created
        allowed = f"{self._window:.0f} seconds are allowed"
        if age > self._window:
            raise Unauthenticated(
                f"The request was signed {age:.0f} seconds ago by the mediator's clock, and"
                f" {allowed}: the sender's clock is {age:.0f} seconds behind, or an old request"
                " was sent again; compare the two clocks and sign anew.",
                reason=Reason.EXPIRED,
            )
        if -age > self._window:
            raise Unauthenticated(
                f"The sender's clock is {-age:.0f} seconds ahead of the mediator's, and {allowed};"
                " compare the two clocks and sign anew.",
                reason=Reason.FUTURE,
            )
        if expires is not None and self._now > expires:
            raise Unauthenticated(
                f"The sender let the signature expire {self._now - expires:.0f} seconds ago by"
                " the mediator's clock; compare the two clocks and sign anew.",
                reason=Reason.EXPIRED,
            )


def _require_parameters(parameters: Mapping[str, Any]) -> None:
    missing = [name for name in _PARAMETERS if parameters.get(name) in {None, ""}]
    if missing:
        raise Unauthenticated(
            f"The signature lacks the parameter {' and '.join(missing)}.", reason=Reason.MALFORMED
        )
    if len(parameters["nonce"]) > _MAX_NONCE:
        raise Unauthenticated(
            f"The signature's nonce is longer than {_MAX_NONCE} characters.",
            reason=Reason.MALFORMED,
        )
    if parameters["alg"] != HMAC_SHA256.algorithm_id:
        raise Unauthenticated(
            f"The request is signed by {parameters['alg'][:_SHOWN]!r};"
            f" sign it by {HMAC_SHA256.algorithm_id}.",
            reason=Reason.ALGORITHM,
        )


def _require_components(covered: list[tuple[object, bool]]) -> None:
    plain = [name for name, parameters in covered if type(name) is str and not parameters]
    if len(plain) != len(covered) or sorted(plain) != sorted(COMPONENTS):
        wanted = " ".join(f'"{name}"' for name in COMPONENTS)
        raise Unauthenticated(
            f"The signature must cover exactly ({wanted}).", reason=Reason.COVERAGE
        )


def _named(keys: Mapping[str, Key], key_id: str) -> Key:
    """The key, or Unauthenticated, which does not tell which keys there are."""
    key = keys.get(key_id)
    if key is None:
        raise Unauthenticated(
            f"The mediator has no key with the id {key_id[:_SHOWN]!r}; compare MEDIATOR_KEY_ID"
            " of the sender with auth.keys of the mediator.",
            reason=Reason.UNKNOWN_KEY,
        )
    return key
