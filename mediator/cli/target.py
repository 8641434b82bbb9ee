"""Which mediator a command talks to, and with which token."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from yarl import URL

from mediator.cli.failures import NOT_ALLOWED, USAGE, Failure
from mediator.cli.options import settings
from mediator.errors import SettingsError
from mediator.settings.schema import Auth, Http, Role
from mediator.settings.secrets import Secret, read_secret


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A mediator, seen from outside."""

    url: str
    """without a slash at its end"""
    ca_file: Path | None = None
    token: Secret | None = field(default=None, repr=False)
    """None where a signature proves who calls"""


def find_target(
    config: Path | None, *, url: str | None, token_file: Path | None, ca_file: Path | None
) -> Target:
    """The mediator that the options name, else the one of the settings file.

    The settings are read only for what the options leave open, so an operator elsewhere needs no
    settings file. Raises `SettingsError`, or `Failure` for a URL that is none.
    """
    found = find_url(config, url)
    if token_file is not None:
        token = read_secret(token_file, key="--token-file")
    else:
        token = _own_token(settings(config).auth)
    return Target(url=found, ca_file=ca_file, token=token)


def find_url(config: Path | None, url: str | None) -> str:
    """Where the mediator is. Raises `SettingsError`, or `Failure` for a URL that is none."""
    urls = (url or "").split()  # the shim takes several in one variable, and tries them in turn
    return _checked(urls[0]) if urls else own_url(settings(config).http)


def own_url(http: Http) -> str:
    """Where a mediator with these settings answers on its own machine. Raises `SettingsError`."""
    if http.port == 0:
        raise SettingsError(
            "http.port is 0, so only the running mediator knows its port: pass --url with the URL"
            " of its ready line, or set MEDIATOR_URL."
        )
    return str(URL.build(scheme="http", host=_reachable(http.host), port=http.port))


def _reachable(host: str) -> str:
    """Where to find what listens on `host`: everywhere includes the loopback interface."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _checked(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise Failure(
            f"{text} is not the URL of a mediator, such as http://127.0.0.1:8080.", exit_code=USAGE
        )
    return text.rstrip("/")


def _own_token(auth: Auth) -> Secret:
    """The first token of the settings that may operate, else the first that may look."""
    for role in (Role.OPERATOR, Role.VIEWER):
        for position, token in enumerate(auth.tokens):
            if token.role is role:
                key = f"auth.tokens[{position}].secret_file"
                return read_secret(token.secret_file, key=key)
    raise Failure(
        "there is no token to show: pass --token-file, or name one in auth.tokens of the settings.",
        exit_code=NOT_ALLOWED,
    )
