"""Where a request comes from, as far as its headers tell."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a form was posted by a page of this origin.

    Browsers say so in Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/) where the connection
    is trustworthy (https or localhost), whatever a proxy makes of the Host; elsewhere Origin is
    held against Host. What says neither is no browser, and has the API instead.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    try:
        origin = URL(headers.get("Origin", ""))
    except ValueError:
        return False
    return bool(origin.host) and origin.authority == _authority(headers.get("Host", ""), origin)


def _authority(host: str, origin: URL) -> str:
    """The Host as `URL.authority` writes it, with the scheme's own port."""
    try:
        return URL(f"{origin.scheme}://{host}").authority
    except ValueError:
        return ""


def by_https(headers: Mapping[str, str], *, secure: bool) -> bool:
    """Whether the browser speaks https, if only to the proxy before the mediator.

    Only for whether a cookie is to be sent by https alone: who forges the header harms himself.
    """
    return secure or headers.get("X-Forwarded-Proto", "").partition(",")[0].strip() == "https"
