"""Secrets: one file each, read once, never shown.

A secret is the first line of its file as UTF-8 text, used as it is. The shim reads the same file
with bash's `read`, so nothing but the line feed is cut off here either. The files may be those of a
service manager, below `$CREDENTIALS_DIRECTORY`.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mediator.errors import SettingsError
from mediator.settings.schema import Auth, Credential, Settings

SHORTEST = 32
"""Characters a secret has at least."""
_LONGEST = 4096  # bytes; a whole PEM file or a database by mistake is not read to its end
_MAKE_ONE = "make one with `mediator new-key FILE`"
VARIABLE = "CREDENTIALS_DIRECTORY"
"""Names the directory of the secrets that a service manager hands over (systemd.exec(5))."""
_WRITTEN = {f"${VARIABLE}", f"${{{VARIABLE}}}"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _SecretKind:
    shortest: int
    """characters it has at least"""
    remedy: str
    """what to do when there is none"""


_SECRET = _SecretKind(shortest=SHORTEST, remedy=_MAKE_ONE)
_PASSWORD = _SecretKind(shortest=1, remedy="write the password into it, as its first line")


class Secret:
    """A secret that no log line or traceback shows by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def matches(self, text: str) -> bool:
        """Whether `text` is the secret, in a time that says nothing about where it differs."""
        return hmac.compare_digest(self._text.encode(), text.encode(errors="surrogateescape"))

    def __repr__(self) -> str:
        """Without the secret."""
        return "Secret(hidden)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """Every secret the settings name."""

    keys: Mapping[str, Secret]
    """by the id of the signing key"""
    tokens: Mapping[str, Secret]
    """by the name of the token"""


def read_secret(path: Path, *, key: str) -> Secret:
    """Read one secret; `key` is the settings key that names the file, such as `auth.keys[0]`.

    Raises `SettingsError` naming the key, the file and what to do.
    """
    try:
        return Secret(_first_line(path))
    except ValueError as error:
        raise SettingsError(f"{key}: the secret file {path} {error}.") from error
    except OSError as error:
        raise SettingsError(f"{key}: the secret file {path} {_unread(error)}.") from error


def read_password(path: Path, *, key: str) -> Secret:
    """Read a password that somebody else chose, however short. Raises `SettingsError`."""
    try:
        return Secret(_first_line(path, _PASSWORD))
    except ValueError as error:
        raise SettingsError(f"{key}: the password file {path} {error}.") from error
    except OSError as error:
        problem = _unread(error, _PASSWORD)
        raise SettingsError(f"{key}: the password file {path} {problem}.") from error


def read_secrets(auth: Auth) -> Secrets:
    """Read all secrets. Raises `SettingsError` with one line per problem."""
    found: dict[str, Secret] = {}
    problems: list[str] = []
    for key, path in _files(auth):
        try:
            found[key] = read_secret(path, key=key)
        except SettingsError as error:
            problems.append(str(error))
    problems.extend(_shared(found))
    if problems:
        raise SettingsError("\n".join(problems))
    ordered = list(found.values())
    return Secrets(
        keys=dict(zip((key.id for key in auth.keys), ordered, strict=False)),
        tokens=dict(zip((t.name for t in auth.tokens), ordered[len(auth.keys) :], strict=True)),
    )


def new_secret_file(path: Path) -> None:
    """Make a secret of 256 random bits in a new file that only its owner can read.

    Raises `SettingsError` when the file exists or cannot be written; it is never overwritten.
    """
    text = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask
            file.write(f"{text}\n")
            file.flush()
            os.fsync(descriptor)
        _sync_directory(path.parent)
    except FileExistsError as error:
        message = f"{path} exists already and is not overwritten; choose another name."
        raise SettingsError(message) from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}).") from error


def _first_line(path: Path, kind: _SecretKind = _SECRET) -> str:
    # Asked before opening: a named pipe would hold up the start until somebody writes to it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is a directory or a device; name a regular file")
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
            raise ValueError(
                "is open to every user of this machine; run `chmod o-rwx` on it "
                "(in Kubernetes set the volume's defaultMode to 0440)"
            )
        line = file.read(_LONGEST + 1).partition(b"\n")[0]
    return _checked(line, kind)


def _checked(line: bytes, kind: _SecretKind) -> str:
    if len(line) > _LONGEST:
        raise ValueError(f"has a first line of more than {_LONGEST} bytes; {kind.remedy}")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError(f"does not begin with a line of UTF-8 text; {kind.remedy}") from None
    if text.endswith("\r"):
        raise ValueError("has Windows line ends; save it with plain line feeds")
    if text.startswith("\N{ZERO WIDTH NO-BREAK SPACE}"):
        raise ValueError("begins with a byte order mark; save it as UTF-8 without one")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError(f"has a control character in its first line; {kind.remedy}")
    if len(text) < kind.shortest:
        raise ValueError(
            f"holds {len(text)} characters in its first line, fewer than {kind.shortest};"
            f" {kind.remedy}"
        )
    return text


def _unread(error: OSError, kind: _SecretKind = _SECRET) -> str:
    if isinstance(error, FileNotFoundError):
        return f"does not exist; {kind.remedy}, or name another"
    if isinstance(error, PermissionError):
        return "cannot be read by the mediator's user; give it to that user or to its group"
    return f"cannot be read ({error.strerror})"


def _files(auth: Auth) -> Iterator[tuple[str, Path]]:
    for position, key in enumerate(auth.keys):
        yield f"auth.keys[{position}].secret_file", key.secret_file
    for position, token in enumerate(auth.tokens):
        yield f"auth.tokens[{position}].secret_file", token.secret_file


def _shared(found: Mapping[str, Secret]) -> Iterator[str]:
    """A token travels in the clear, so it must be nobody else's secret, and no signing key.

    Two signing keys may be the same: that is how a key gets another id.
    """
    first: dict[str, str] = {}
    for key, secret in found.items():
        other = first.setdefault(secret.reveal(), key)
        if other != key and key.startswith("auth.tokens"):
            yield f"{key}: it holds the same secret as {other}; {_MAKE_ONE}."


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def found_credentials(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """The settings with that directory in the paths of secrets that begin with its variable.

    Raises `SettingsError`, one line for each such path, when the variable is not set.
    """
    keys = [key for key, path in _secrets(settings) if _begins_so(path)]
    if not keys:
        return settings
    if not environ.get(VARIABLE):
        raise SettingsError("\n".join(_missing(key) for key in keys))
    at = partial(_placed, directory=Path(environ[VARIABLE]))
    auth, store = settings.auth, settings.store
    password = store.password_file
    return settings.model_copy(
        update={
            "auth": auth.model_copy(
                update={
                    "keys": tuple(_moved(key, at(key.secret_file)) for key in auth.keys),
                    "tokens": tuple(_moved(token, at(token.secret_file)) for token in auth.tokens),
                }
            ),
            "store": store.model_copy(
                update={"password_file": None if password is None else at(password)}
            ),
        }
    )


def _secrets(settings: Settings) -> Iterator[tuple[str, Path]]:
    for position, key in enumerate(settings.auth.keys):
        yield f"auth.keys[{position}].secret_file", key.secret_file
    for position, token in enumerate(settings.auth.tokens):
        yield f"auth.tokens[{position}].secret_file", token.secret_file
    if settings.store.password_file is not None:
        yield "store.password_file", settings.store.password_file


def _begins_so(path: Path) -> bool:
    return bool(path.parts) and path.parts[0] in _WRITTEN


def _placed(path: Path, *, directory: Path) -> Path:
    return directory.joinpath(*path.parts[1:]) if _begins_so(path) else path


def _moved(credential: Credential, path: Path) -> Credential:
    return credential.model_copy(update={"secret_file": path})


def _missing(key: str) -> str:
    return (
        f"{key}: ${VARIABLE} is not set; systemd sets it for a service with LoadCredential=, and"
        " elsewhere it is the directory of the secret files."
    )
