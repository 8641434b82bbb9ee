"""What uv is told, what it is not told, and what is told of its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mediator.catalog.environments.uv import Uv, reason_in, without_credentials
from mediator.settings.schema import EnvironmentSettings

ENVIRON = {
    "PATH": "/bin",
    "HOME": "/home/mediator",
    "MEDIATOR_AUTH__KEYS": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "https_proxy": "http://proxy:3128",
    "NO_PROXY": "example.org",
    "SSL_CERT_FILE": "/etc/ca.pem",
    "UV_INDEX_CORP_PASSWORD": "for uv",
    "UV_PROJECT_ENVIRONMENT": "/elsewhere",
    "UV_CACHE_DIR": "/elsewhere",
    "UV_DEFAULT_INDEX": "https://uv.example.org/simple",
    "PIP_INDEX_URL": "https://pip.example.org/simple",
    "PIP_EXTRA_INDEX_URL": "https://more.example.org/simple",
}


def uv(environ: dict[str, str] | None = None, **settings: Any) -> Uv:
    made = EnvironmentSettings.model_validate({"directory": "/state", **settings})
    return Uv(settings=made, environ=environ or {})


def test_uv_gets_what_it_needs_and_no_secret_of_the_daemon() -> None:
    assert uv(ENVIRON).environment == {
        "PATH": "/bin",
        "HOME": "/home/mediator",
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "example.org",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_INDEX_CORP_PASSWORD": "for uv",
        "UV_DEFAULT_INDEX": "https://uv.example.org/simple",
        "UV_INDEX": "https://more.example.org/simple",
        "UV_CACHE_DIR": "/state/cache",
        "UV_PYTHON_DOWNLOADS": "never",
    }


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"offline": True}, ["--offline"], id="offline, from the cache"),
        pytest.param(
            {"offline": True, "wheels": ["/wheels"]},
            ["--find-links=/wheels", "--offline", "--no-index"],
            id="offline, from wheels",
        ),
        pytest.param(
            {"index_url": "https://a/simple", "extra_index_urls": ["https://b/simple"]},
            ["--default-index=https://a/simple", "--index=https://b/simple"],
            id="indexes",
        ),
    ],
)
def test_where_packages_come_from(settings: dict[str, Any], options: list[str]) -> None:
    assert uv(**settings).sources == options


def test_being_offline_makes_no_other_environment() -> None:
    assert uv(offline=True).identity == uv().identity
    assert uv(index_url="https://a/simple").identity != uv().identity


def test_an_error_of_uv_becomes_one_sentence() -> None:
    told = (
        "Using Python 3.11.2 environment at: x\n"
        "error: Failed to fetch: https://user:password@host/simple/six/\n"
        "  cause: client error (Connect)\n"
        "  cause: invalid peer certificate: UnknownIssuer.\n"
        "\n"
        "hint: Consider this\n"
    )
    assert reason_in(told) == (
        "Failed to fetch: https://***@host/simple/six/: client error (Connect): "
        "invalid peer certificate: UnknownIssuer"
    )


def test_a_long_error_is_cut_and_an_unknown_one_is_shown() -> None:
    assert len(reason_in("error: " + "x" * 5000)) == 600
    assert reason_in("Segmentation fault\n") == "Segmentation fault"


def test_credentials_are_left_out_and_nothing_else() -> None:
    assert (
        without_credentials("a@b https://t@h/p http://h/a@b") == "a@b https://***@h/p http://h/a@b"
    )


def test_paths_are_taken_from_the_settings_file() -> None:
    anchored = EnvironmentSettings.model_validate({"wheels": ["wheels"]}).anchored(
        Path("/etc/mediator")
    )
    assert anchored.directory == Path("/etc/mediator/state/environments")
    assert anchored.wheels == (Path("/etc/mediator/wheels"),)
