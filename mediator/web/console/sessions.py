"""Who is signed in: a cookie that needs no memory here.

The cookie names the holder of a token and says until when it holds. It is sealed by HMAC-SHA-256
with a key that is made from that token's own secret. So every replica and every later start of the
mediator can read it, nothing but the token can make one, and a token that is changed or taken out
of the settings signs its holder out everywhere. What cannot be done is to take back a single
cookie before its time: signing out only makes the browser forget it.

The seal is two calls of the standard library; a package for it would bring a format, a clock and a
secret of its own. The payload is no secret: who holds the cookie may know the holder's name.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mediator.settings.tree import Role
from mediator.web.services import Holder
from mediator.web.tokens import may

LIFE = timedelta(hours=12)
"""How long somebody stays signed in."""
_SESSION = b"mediator console session"
_FORM = b"mediator console form"
_COOKIE = re.compile(r"([A-Za-z0-9._-]{1,64})\.([0-9]{1,11})\.([A-Za-z0-9_-]{1,40})\.[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Somebody who is signed in."""

    holder: Holder
    until: datetime
    """whole seconds"""
    nonce: str
    """makes each session another one"""

    @property
    def may_operate(self) -> bool:
        """Whether they may retry and cancel."""
        return may(self.holder, Role.OPERATOR)

    @property
    def form_token(self) -> str:
        """What forms carry, so that no other site can post one for the holder (CSRF)."""
        return _mac(self.holder, _FORM, self._payload)

    def is_form_token(self, text: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token.encode(), text.encode(errors="replace"))

    def sealed(self) -> str:
        """The value of the cookie."""
        return f"{self._payload}.{_mac(self.holder, _SESSION, self._payload)}"

    @property
    def _payload(self) -> str:
        return f"{self.holder.name}.{int(self.until.timestamp())}.{self.nonce}"


def may_sign_in(holder: Holder) -> bool:
    """Whether the console has something for the holder of such a token."""
    return may(holder, Role.VIEWER)


def begin(holder: Holder, *, now: datetime) -> Session:
    """Sign somebody in."""
    until = (now + LIFE).replace(microsecond=0)
    return Session(holder=holder, until=until, nonce=secrets.token_urlsafe(12))


def unsealed(cookie: str, holders: Iterable[Holder], *, now: datetime) -> Session | None:
    """The session that the cookie stands for; None: it is forged, too old, or its token is gone."""
    read = _COOKIE.fullmatch(cookie)
    if read is None:
        return None
    name, until, nonce = read.groups()
    found = [holder for holder in holders if holder.name == name and may_sign_in(holder)]
    if not found:
        return None
    session = Session(holder=found[0], until=datetime.fromtimestamp(int(until), UTC), nonce=nonce)
    genuine = hmac.compare_digest(session.sealed().encode(), cookie.encode())
    return session if genuine and now < session.until <= now + LIFE else None


def _mac(holder: Holder, purpose: bytes, payload: str) -> str:
    """Of two purposes never the same, and never that of a signed hand-over: the key is apart."""
    key = hmac.digest(holder.secret.reveal().encode(), purpose, "sha256")
    return hmac.digest(key, payload.encode(), "sha256").hex()
