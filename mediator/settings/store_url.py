"""What `store.url` may say, and which file it means."""

from __future__ import annotations

from pathlib import Path

_SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path:
    """The database file of `sqlite:///relative` or `sqlite:////absolute`.

    Raises ValueError with a sentence for anything else. The sentence quotes no part of the URL
    but its scheme, because the rest may hold a password.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:
        raise ValueError("this is not a URL; write sqlite:///FILE, such as sqlite:///state/m.db")
    if scheme != "sqlite":
        raise ValueError(f"{scheme}:// is not a store that exists; write sqlite:///FILE")
    file = url.removeprefix(_SQLITE)
    if file in {"", url, ":memory:"} or file.endswith("/"):
        raise ValueError("it names no file to keep deliveries in; write sqlite:///FILE")
    if "?" in file or "#" in file:
        raise ValueError("options after ? or # are not taken; write only sqlite:///FILE")
    return Path(file)


def at_directory(url: str, base: Path) -> str:
    """The same URL with a relative file taken from `base`."""
    return f"{_SQLITE}{base / sqlite_path(url)}"
