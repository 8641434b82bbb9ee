"""Secrets that a service manager hands over: files below `$CREDENTIALS_DIRECTORY`.

systemd copies what `LoadCredential=` names to a directory that only the service can read, and says
in this variable where it is (systemd.exec(5), "Credentials"). No other variable is looked at: a
settings file whose meaning hangs on its surroundings is hard to reason about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from mediator.errors import SettingsError
from mediator.settings.tree import Credential, Settings

VARIABLE = "CREDENTIALS_DIRECTORY"
_WRITTEN = {f"${VARIABLE}", f"${{{VARIABLE}}}"}


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
