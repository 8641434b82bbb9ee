"""Secrets may be named by the directory that systemd puts credentials into."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.errors import SettingsError
from mediator.settings.load import load

TEXT = """
store: {url: "postgresql://mediator@db/mediator", password_file: $CREDENTIALS_DIRECTORY/db.password}
auth:
  keys: [{id: securechange, secret_file: "${CREDENTIALS_DIRECTORY}/securechange.key"}]
  tokens:
    - {name: ops, role: operator, secret_file: $CREDENTIALS_DIRECTORY/operator.token}
    - {name: eyes, role: viewer, secret_file: viewer.token}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mediator.yaml"
    path.write_text(TEXT)
    return path


def test_such_paths_lead_to_the_directory_and_others_stay_beside_the_settings(file: Path) -> None:
    settings = load(file, {"CREDENTIALS_DIRECTORY": "/run/credentials/mediator.service"})
    given = Path("/run/credentials/mediator.service")
    assert settings.auth.keys[0].secret_file == given / "securechange.key"
    assert [token.secret_file for token in settings.auth.tokens] == [
        given / "operator.token",
        file.parent / "viewer.token",
    ]
    assert settings.store.password_file == given / "db.password"


@pytest.mark.parametrize("environ", [{}, {"CREDENTIALS_DIRECTORY": ""}], ids=["unset", "empty"])
def test_without_the_directory_each_such_key_is_named(file: Path, environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(file, environ)
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        "auth.keys[0].secret_file",
        "auth.tokens[0].secret_file",
        "store.password_file",
    ]


@pytest.mark.parametrize(
    "name",
    ["$HOME/securechange.key", "$CREDENTIALS_DIRECTORY.key", "keys/$CREDENTIALS_DIRECTORY/a.key"],
)
def test_nothing_else_is_expanded(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mediator.yaml"
    path.write_text(f"auth: {{keys: [{{id: securechange, secret_file: {name}}}]}}\n")
    settings = load(path, {"CREDENTIALS_DIRECTORY": "/given", "HOME": "/root"})
    assert settings.auth.keys[0].secret_file == tmp_path / name


def test_settings_without_such_paths_need_no_directory() -> None:
    assert load(None, {}).auth.keys[0].secret_file == Path.cwd() / "securechange.key"
    assert load(None, {}).store.password_file is None
