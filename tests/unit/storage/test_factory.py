"""Which store the settings ask for, and what is said when it cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mediator.errors import SettingsError
from mediator.settings.schema import Store
from mediator.storage.factory import store_of
from mediator.storage.postgres import PostgresStore
from mediator.storage.sqlite import SqliteStore

URL = "postgresql://mediator@127.0.0.1:1/tickets"


def password(path: Path, text: str = "pw\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_is_sqlite_and_a_server_is_postgresql(tmp_path: Path) -> None:
    assert isinstance(store_of(Store(url=f"sqlite:///{tmp_path}/m.db")), SqliteStore)
    assert isinstance(store_of(Store(url=URL)), PostgresStore)


def test_only_a_store_that_others_may_share_is_not_alone(tmp_path: Path) -> None:
    assert store_of(Store(url=f"sqlite:///{tmp_path}/m.db")).alone
    assert not store_of(Store(url=URL)).alone


def test_a_driver_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"pip install 'securechange-mediator\[postgresql\]'"):
        store_of(Store(url=URL))


def test_a_short_password_is_read(tmp_path: Path) -> None:
    store_of(Store(url=URL, password_file=password(tmp_path / "db.password")))


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        (None, 0o600, "does not exist"),
        ("pw\n", 0o604, "open to every user"),
        ("\n", 0o600, "holds 0 characters"),
    ],
    ids=["none", "open", "empty"],
)
def test_a_password_that_cannot_be_used_is_said_before_the_start(
    tmp_path: Path, text: str | None, mode: int, sentence: str
) -> None:
    path = tmp_path / "db.password"
    if text is not None:
        password(path, text, mode)
    with pytest.raises(SettingsError, match=rf"^store\.password_file: .*{sentence}") as caught:
        store_of(Store(url=URL, password_file=path))
    assert "new-key" not in str(caught.value), "nobody makes a database's password with it"


def test_a_password_for_a_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SQLite has no password"):
        store_of(Store(password_file=password(tmp_path / "db.password")))
