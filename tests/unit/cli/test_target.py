"""Which mediator is asked, and with which token."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.cli.failures import NOT_ALLOWED, USAGE, Failure
from mediator.cli.target import find_target, find_url, own_url
from mediator.errors import SettingsError
from mediator.settings.schema import Http
from mediator.settings.secrets import new_secret_file

EYES = "{name: a, role: viewer, secret_file: eyes}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("eyes", "ops", "other"):
        new_secret_file(tmp_path / name)
    return tmp_path


def configure(home: Path, text: str) -> Path:
    path = home / "mediator.yaml"
    path.write_text(text)
    return path


def secret(path: Path) -> str:
    return path.read_text().strip()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        pytest.param("127.0.0.1", "http://127.0.0.1:8080", id="loopback"),
        pytest.param("0.0.0.0", "http://127.0.0.1:8080", id="everywhere"),  # noqa: S104
        pytest.param("::", "http://[::1]:8080", id="everywhere, version 6"),
        pytest.param("10.1.2.3", "http://10.1.2.3:8080", id="an address"),
        pytest.param("mediator.example", "http://mediator.example:8080", id="a name"),
    ],
)
def test_a_mediator_is_found_where_its_settings_say(host: str, url: str) -> None:
    assert own_url(Http(host=host, port=8080)) == url


def test_a_port_that_only_the_mediator_knows_must_be_said() -> None:
    with pytest.raises(SettingsError, match=r"http\.port is 0.*--url"):
        own_url(Http(port=0))


def test_the_first_of_several_urls_is_asked() -> None:
    assert find_url(None, " https://a.example/prefix/  http://b.example") == (
        "https://a.example/prefix"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a.example:8080",
        "ftp://a.example",
        "http://",
        "http://a.example/?q=1",
        "http://a.example:x",
    ],
)
def test_what_is_no_url_is_a_mistake_in_the_command(text: str) -> None:
    with pytest.raises(Failure, match="is not the URL of a mediator") as caught:
        find_url(None, text)
    assert caught.value.exit_code == USAGE


def test_an_operator_elsewhere_needs_no_settings(home: Path) -> None:
    broken = configure(home, "nonsense: [")
    target = find_target(broken, url="http://a.example", token_file=home / "ops", ca_file=None)
    assert target.token is not None
    assert target.token.reveal() == secret(home / "ops")


@pytest.mark.parametrize(
    ("tokens", "chosen"),
    [
        pytest.param(
            f"[{EYES}, {{name: b, role: operator, secret_file: ops}},"
            " {name: c, role: operator, secret_file: other}]",
            "ops",
            id="the first that may operate",
        ),
        pytest.param(
            f"[{EYES}, {{name: b, role: viewer, secret_file: other}}]",
            "eyes",
            id="else the first that may look",
        ),
    ],
)
def test_the_token_of_the_settings_is_used(home: Path, tokens: str, chosen: str) -> None:
    config = configure(home, f"auth: {{tokens: {tokens}}}\n")
    target = find_target(config, url=None, token_file=None, ca_file=None)
    assert target.url == "http://127.0.0.1:8080"
    assert target.token is not None
    assert target.token.reveal() == secret(home / chosen)


def test_no_token_anywhere_is_said(home: Path) -> None:
    with pytest.raises(Failure, match="--token-file") as caught:
        find_target(configure(home, ""), url=None, token_file=None, ca_file=None)
    assert caught.value.exit_code == NOT_ALLOWED


def test_a_token_is_shown_by_no_representation(home: Path) -> None:
    target = find_target(None, url="http://a.example", token_file=home / "ops", ca_file=None)
    assert secret(home / "ops") not in repr(target)
