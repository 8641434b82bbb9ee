"""Secrets: what is taken, what is refused and in which words, and that none is shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mediator.errors import SettingsError
from mediator.settings.schema import Auth
from mediator.settings.secrets import Secret, new_secret_file, read_secret, read_secrets

GOOD = "0123456789abcdef0123456789abcdef"


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def auth(directory: Path, *keys: str, tokens: tuple[str, ...] = ()) -> Auth:
    return Auth.model_validate(
        {
            "keys": [{"id": name, "secret_file": directory / name} for name in keys],
            "tokens": [
                {"name": name, "role": "viewer", "secret_file": directory / name} for name in tokens
            ],
        }
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(f"{GOOD}\n".encode(), GOOD, id="one line"),
        pytest.param(GOOD.encode(), GOOD, id="no line end"),
        pytest.param(f"{GOOD}\nmore\n".encode(), GOOD, id="only the first line"),
        pytest.param(f" {GOOD} \n".encode(), f" {GOOD} ", id="spaces are kept"),
        pytest.param(f"{GOOD}é\n".encode(), f"{GOOD}é", id="UTF-8"),
        pytest.param("é".encode() * 32, "é" * 32, id="characters count, not bytes"),
    ],
)
def test_the_first_line_is_the_secret(tmp_path: Path, content: bytes, text: str) -> None:
    assert read_secret(written(tmp_path / "s", content), key="k").reveal() == text


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o660], ids=oct)
def test_the_owner_and_the_group_may_read(tmp_path: Path, mode: int) -> None:
    read_secret(written(tmp_path / "s", GOOD.encode(), mode), key="k")


@pytest.mark.parametrize(
    ("content", "what", "advice"),
    [
        pytest.param(
            b"", "holds 0 characters", "make one with `mediator new-key FILE`", id="empty"
        ),
        pytest.param(
            b"x" * 31, "holds 31 characters in its first line, fewer than 32", "", id="31"
        ),
        pytest.param(b"\n" + GOOD.encode(), "holds 0 characters", "new-key", id="an empty line"),
        pytest.param(b"\xff" * 32, "UTF-8", "new-key", id="not UTF-8"),
        pytest.param(GOOD.encode() + b"\r\n", "Windows line ends", "plain line feeds", id="CRLF"),
        pytest.param(b"a\tb" + GOOD.encode(), "control character", "new-key", id="a tab"),
        pytest.param(b"\x00" * 32, "control character", "new-key", id="null bytes"),
        pytest.param(b"\xef\xbb\xbf" + GOOD.encode(), "byte order mark", "without", id="a mark"),
        pytest.param(b"x" * 5000, "more than 4096 bytes", "new-key", id="endless"),
    ],
)
def test_a_weak_or_broken_secret_is_refused_without_being_shown(
    tmp_path: Path, content: bytes, what: str, advice: str
) -> None:
    path = written(tmp_path / "s", content)
    with pytest.raises(SettingsError) as caught:
        read_secret(path, key="auth.keys[0].secret_file")
    message = str(caught.value)
    assert message.startswith(f"auth.keys[0].secret_file: the secret file {path} ")
    assert what in message
    assert advice in message
    assert "xxx" not in message
    assert GOOD not in message


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o777], ids=oct)
def test_a_file_open_to_every_user_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match=r"open to every user .* `chmod o-rwx` .* 0440"):
        read_secret(written(tmp_path / "s", GOOD.encode(), mode), key="k")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist; make one with `mediator new-key"):
        read_secret(tmp_path / "none", key="k")


def test_a_directory_and_a_pipe_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(SettingsError, match="name a regular file"):
            read_secret(path, key="k")


def test_a_link_that_leads_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_secret(tmp_path / "a", key="k")


def test_a_secret_is_never_shown_by_accident() -> None:
    secret = Secret(GOOD)
    assert GOOD not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == GOOD


def test_a_secret_is_compared_with_any_text() -> None:
    secret = Secret(GOOD)
    assert secret.matches(GOOD)
    assert not secret.matches("")
    assert not secret.matches(GOOD + "\udcff")


def test_all_secrets_are_read_by_name(tmp_path: Path) -> None:
    for name in ("a", "b", "ops"):
        written(tmp_path / name, (name + GOOD).encode())
    found = read_secrets(auth(tmp_path, "a", "b", tokens=("ops",)))
    assert {name: secret.reveal() for name, secret in found.keys.items()} == {
        "a": f"a{GOOD}",
        "b": f"b{GOOD}",
    }
    assert found.tokens["ops"].reveal() == f"ops{GOOD}"


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    written(tmp_path / "b", b"short")
    with pytest.raises(SettingsError) as caught:
        read_secrets(auth(tmp_path, "a", "b", tokens=("c",)))
    keys = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert keys == [
        "auth.keys[0].secret_file",
        "auth.keys[1].secret_file",
        "auth.tokens[0].secret_file",
    ]


def test_a_token_is_nobody_elses_secret(tmp_path: Path) -> None:
    for name in ("key", "one", "two"):
        written(tmp_path / name, GOOD.encode())
    with pytest.raises(SettingsError) as caught:
        read_secrets(auth(tmp_path, "key", tokens=("one", "two")))
    assert str(caught.value).splitlines() == [
        f"auth.tokens[{position}].secret_file: it holds the same secret as "
        "auth.keys[0].secret_file; make one with `mediator new-key FILE`."
        for position in (0, 1)
    ]


def test_two_keys_may_share_a_secret_while_an_id_is_changed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        written(tmp_path / name, GOOD.encode())
    assert set(read_secrets(auth(tmp_path, "old", "new")).keys) == {"old", "new"}


def test_a_new_secret_is_strong_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    before = os.umask(0)
    try:
        new_secret_file(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_secret(path, key="k").reveal()) == 43
    new_secret_file(tmp_path / "other.key")
    assert path.read_text() != (tmp_path / "other.key").read_text()


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "s", GOOD.encode())
    with pytest.raises(SettingsError, match="exists already and is not overwritten; choose"):
        new_secret_file(path)
    assert path.read_text() == GOOD


def test_a_secret_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        new_secret_file(tmp_path / "no" / "such" / "directory")
