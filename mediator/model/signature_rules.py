"""What a signature must be before it is worth a look at its bytes.

RFC 9421 leaves to each application which components a signature covers and which parameters it
carries (section 3.2, "application requirements"); these are the mediator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256

from mediator.errors import Unauthenticated
from mediator.model.keys import Key, Reason

TAG = "mediator"
"""Marks the one signature of a message that is meant for the mediator."""
COMPONENTS = ("@method", "@request-target", "content-digest", "idempotency-key")
"""What a signature covers, exactly, in any order, without component parameters."""

_PARAMETERS = ("created", "keyid", "nonce", "alg", "tag")
_MAX_NONCE = 200
_SHOWN = 60


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
