"""The secrets that shims and the mediator share, and why a request fails to prove one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MIN_SECRET = 32
"""Bytes of the shortest secret; the settings say so more politely."""


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
