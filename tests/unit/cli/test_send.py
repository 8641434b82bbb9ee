"""Which key `send` signs with."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from mediator.cli.failures import NOT_ALLOWED, Failure
from mediator.cli.send import find_key
from mediator.errors import SettingsError
from mediator.settings.secrets import new_secret_file


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        new_secret_file(tmp_path / name)
    path = tmp_path / "mediator.yaml"
    path.write_text(
        "auth:\n  keys:\n"
        "  - {id: narrow, secret_file: one, scripts: [notify.py]}\n"
        "  - {id: other, secret_file: two, scripts: [close.py, notify.py]}\n"
    )
    return path


def secret(name: str) -> bytes:
    return Path(name).read_text().strip().encode()


@pytest.mark.parametrize(
    ("script", "key_id"),
    [
        pytest.param("notify.py", "narrow", id="exact name"),
        pytest.param("notify", "narrow", id="name without suffix"),
        pytest.param("close", "other", id="the first that opens it"),
    ],
)
def test_the_first_key_that_may_open_the_script_is_used(
    config: Path, script: str, key_id: str
) -> None:
    assert find_key(config, script, key_id=None, key_file=None).id == key_id


def test_a_key_of_the_settings_is_found_by_its_id(config: Path) -> None:
    key = find_key(config, "notify", key_id="other", key_file=None)
    assert (key.id, key.secret) == ("other", secret("two"))


def test_a_key_of_ones_own_needs_no_settings(config: Path) -> None:
    config.write_text("nonsense: [")
    key = find_key(config, "notify", key_id="mine", key_file=Path("two"))
    assert (key.id, key.secret) == ("mine", secret("two"))


def test_no_key_for_the_script_is_said(config: Path) -> None:
    with pytest.raises(Failure, match=r"may open nope\.py") as caught:
        find_key(config, "nope.py", key_id=None, key_file=None)
    assert caught.value.exit_code == NOT_ALLOWED


def test_an_unknown_id_is_said(config: Path) -> None:
    with pytest.raises(SettingsError, match="has no key nobody"):
        find_key(config, "notify", key_id="nobody", key_file=None)


def test_a_file_without_an_id_is_half_a_key(config: Path) -> None:
    with pytest.raises(typer.BadParameter, match="--key-id"):
        find_key(config, "notify", key_id=None, key_file=Path("two"))
