"""What `store.url` may say, and what it means. No sentence quotes a URL: it may hold a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

_SQLITE = "sqlite:///"
_POSTGRESQL = "postgresql://"
_ALIASES = ("postgres://", "postgresql+psycopg://")
_EITHER = "write sqlite:///FILE or postgresql://USER@HOST/DATABASE"
_SECRET = {"password"}


def check_store_url(url: str) -> None:
    """Raises ValueError with a sentence for a URL of no store."""
    scheme, colon, _ = url.partition("://")
    if not colon:
        raise ValueError(f"this is not a URL; {_EITHER}")
    if scheme == "sqlite":
        sqlite_path(url)
    elif url.startswith((_POSTGRESQL, *_ALIASES)):
        postgresql_url(url)
    else:
        raise ValueError(f"{scheme}:// is not a store that exists; {_EITHER}")


def is_sqlite(url: str) -> bool:
    """Whether it names a file."""
    return url.startswith("sqlite:")


def sqlite_path(url: str) -> Path:
    """The database file of `sqlite:///relative` or `sqlite:////absolute`.

    Raises ValueError with a sentence for anything else.
    """
    file = url.removeprefix(_SQLITE)
    if file in {"", url, ":memory:"} or file.endswith("/"):
        raise ValueError("it names no file to keep deliveries in; write sqlite:///FILE")
    if "?" in file or "#" in file:
        raise ValueError("options after ? or # are not taken; write only sqlite:///FILE")
    return Path(file)


def postgresql_url(url: str) -> str:
    """As libpq reads it: without the driver in its scheme, which other programs write.

    Several hosts, `sslmode` and all other parameters are libpq's own. Raises ValueError with a
    sentence when it holds a password.
    """
    for alias in _ALIASES:
        if url.startswith(alias):
            url = _POSTGRESQL + url.removeprefix(alias)
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if ":" in user or names & _SECRET:
        raise ValueError(
            "it holds a password, which every log and process list may show; put the password into"
            " a file and name that file as store.password_file"
        )
    return url


def at_directory(url: str, base: Path) -> str:
    """The same URL with a relative file taken from `base`."""
    return f"{_SQLITE}{base / sqlite_path(url)}" if is_sqlite(url) else url
