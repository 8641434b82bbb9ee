"""The settings tree: defaults, bounds, and paths."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mediator.model.policy import Retry
from mediator.settings.schema import (
    Auth,
    LogFormat,
    LogLevel,
    Role,
    Settings,
    SigningKey,
    Store,
)
from mediator.settings.store_url import postgresql_url


def built(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model and all that its fields hold, found by their names in the schema's module."""
    found = {model}
    pending: list[Any] = [field.annotation for field in model.model_fields.values()]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found |= models(annotation)
        pending.extend(getattr(annotation, "__args__", ()))
    return found


def test_the_defaults_are_those_that_are_documented() -> None:
    settings = Settings()
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert settings.http.metrics_port is None
    assert settings.http.body_limit == 16 * 1024 * 1024
    assert settings.scripts.directory == Path("scripts")
    assert settings.store.path == Path("state/mediator.db")
    assert settings.auth.window == timedelta(seconds=300)
    assert [key.id for key in settings.auth.keys] == ["securechange"]
    assert settings.auth.keys[0].secret_file == Path("securechange.key")
    assert settings.auth.keys[0].scripts is None
    assert settings.auth.tokens == ()
    assert (settings.dispatch.slots, settings.dispatch.interactive_slots) == (8, 4)
    assert settings.dispatch.drain == timedelta(seconds=30)
    assert settings.dispatch.deduplicate == timedelta(hours=24)
    assert settings.dispatch.work_directory == Path("state/work")
    assert (settings.log.level, settings.log.format) == (LogLevel.INFO, LogFormat.AUTO)
    assert settings.policies == {}


@pytest.mark.parametrize("model", sorted(models(Settings), key=repr))
def test_every_key_is_documented_and_every_section_refuses_unknown_ones(
    model: type[BaseModel],
) -> None:
    assert model.model_config.get("extra") == "forbid"
    assert model.model_config.get("frozen") is True
    undocumented = [name for name, field in model.model_fields.items() if not field.description]
    assert undocumented == []


def test_building_a_tree_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP", '{"port": 1}')
    monkeypatch.setenv("MEDIATOR_HTTP__PORT", "1")
    assert Settings().http.port == 8080


def test_policy_defaults_come_from_dispatch() -> None:
    defaults = built(
        dispatch={
            "timeout": "1m",
            "interactive_timeout": "2s",
            "grace": "3s",
            "retry": {"attempts": 4},
            "env": {"A": "b"},
            "pass_env": ["TZ"],
        }
    ).policy_defaults
    assert defaults.timeout == timedelta(minutes=1)
    assert defaults.interactive_timeout == timedelta(seconds=2)
    assert defaults.grace == timedelta(seconds=3)
    assert defaults.retry == Retry(attempts=4)
    assert defaults.env == {"A": "b"}
    assert defaults.pass_env == {"TZ"}


def test_anchoring_makes_relative_paths_absolute_and_leaves_absolute_ones() -> None:
    settings = built(
        store={"url": "sqlite:////var/lib/m.db"},
        auth={
            "keys": [{"id": "a", "secret_file": "a.key"}],
            "tokens": [{"name": "ops", "role": "operator", "secret_file": "/run/ops.token"}],
        },
    ).anchored(Path("/etc/mediator"))
    assert settings.scripts.directory == Path("/etc/mediator/scripts")
    assert settings.dispatch.work_directory == Path("/etc/mediator/state/work")
    assert settings.store.path == Path("/var/lib/m.db")
    assert settings.auth.keys[0].secret_file == Path("/etc/mediator/a.key")
    assert settings.auth.tokens[0].secret_file == Path("/run/ops.token")
    assert settings.auth.tokens[0].role is Role.OPERATOR


def test_anchoring_twice_is_anchoring_once() -> None:
    once = Settings().anchored(Path("/a"))
    assert once.anchored(Path("/b")) == once


def test_anchoring_at_a_relative_directory_takes_the_current_one() -> None:
    assert Settings().anchored(Path("x")).store.path == Path.cwd() / "x/state/mediator.db"
    assert os.fspath(Settings().anchored(Path()).scripts.directory).startswith("/")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        pytest.param("mysql://u:pw@h/db", "mysql:// is not a store", id="another"),
        pytest.param("postgresql://u:pw@h/db", "store.password_file", id="a password"),
        pytest.param("postgresql+psycopg://u:pw@h/db", "store.password_file", id="as SQLAlchemy"),
        pytest.param("postgresql://u:pw@h,i/db", "store.password_file", id="several hosts"),
        pytest.param("postgresql:///db?password=pw@", "store.password_file", id="a parameter"),
        pytest.param(
            "postgresql+asyncpg://u@h/db", r"postgresql\+asyncpg:// is not", id="its driver"
        ),
        pytest.param("sqlite+aiosqlite:///x.db", r"sqlite\+aiosqlite:// is not", id="a driver"),
        pytest.param("state/mediator.db", "not a URL; write sqlite:///FILE or post", id="a path"),
        pytest.param("sqlite://", "names no file", id="memory"),
        pytest.param("sqlite:///", "names no file", id="no file"),
        pytest.param("sqlite:///:memory:", "names no file", id="memory by name"),
        pytest.param("sqlite:///state/", "names no file", id="a directory"),
        pytest.param("sqlite://host/x.db", "names no file", id="a host"),
        pytest.param("sqlite:///x.db?mode=ro", "options after", id="options"),
    ],
)
def test_a_store_that_does_not_exist_is_refused_without_showing_a_password(
    url: str, sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence) as caught:
        Store(url=url)
    assert "pw@" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://mediator@db.example.com/mediator?sslmode=verify-full",
        "postgresql://mediator@one:5432,two:5433/mediator?target_session_attrs=read-write",
        "postgresql:///mediator?service=tickets",
        "postgresql+psycopg://mediator@db/mediator",
        "postgres://mediator@[::1]:5432/mediator",
    ],
)
def test_a_database_of_postgresql_is_a_store_and_no_file(url: str) -> None:
    store = Store(url=url, password_file=Path("db.password")).anchored(Path("/etc/mediator"))
    assert (store.url, store.path) == (url, None)
    assert store.password_file == Path("/etc/mediator/db.password")
    assert postgresql_url(url).startswith("postgresql://")


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({"http": {"port": 65536}}, id="a port too large"),
        pytest.param({"http": {"port": True}}, id="yes for a port"),
        pytest.param({"http": {"body_limit": "0B"}}, id="no body at all"),
        pytest.param({"auth": {"keys": []}}, id="no key"),
        pytest.param({"auth": {"window": "0s"}}, id="no window"),
        pytest.param({"dispatch": {"slots": 0}}, id="no slot"),
        pytest.param({"store": {"lease": "999ms"}}, id="a lease too short to renew"),
        pytest.param({"policies": {"a/b": {}}}, id="a script name with a slash"),
        pytest.param({"log": {"level": "trace"}}, id="an unknown level"),
    ],
)
def test_values_out_of_bounds_are_refused(sections: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        built(**sections)


def test_ids_of_keys_and_names_of_tokens_are_unique() -> None:
    key = SigningKey(id="a", secret_file=Path("a"))
    with pytest.raises(ValidationError, match="the id a is given more than once"):
        Auth(keys=(key, key))
    token = {"name": "ops", "role": "viewer", "secret_file": "t"}
    with pytest.raises(ValidationError, match="the name ops is given more than once"):
        Auth.model_validate({"tokens": [token, token]})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().http.port = 1  # type: ignore[misc]
