"""Defaults, then the file, then the environment, then the flags; and every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mediator.errors import SettingsError
from mediator.settings.load import load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mediator.yaml"


def problems(
    path: Path | None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, environ or {}, overrides or {})
    return str(caught.value).splitlines()


def only_problem(path: Path, text: str) -> str:
    """The one problem of a file, with the file's directory left out."""
    path.write_text(text)
    (problem,) = problems(path)
    return problem.removeprefix(f"{path.parent}/")


class TestWhoWins:
    def test_without_anything_the_defaults_count_from_the_current_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        settings = load(None)
        assert settings.http.port == 8080
        assert settings.scripts.directory == tmp_path / "scripts"

    def test_the_file_wins_over_the_defaults_key_by_key(self, file: Path) -> None:
        file.write_text("http: {port: 1}\ndispatch: {retry: {attempts: 2}}\n")
        settings = load(file)
        assert (settings.http.port, settings.http.host) == (1, "127.0.0.1")
        assert settings.dispatch.retry.attempts == 2
        assert settings.dispatch.retry.first == timedelta(seconds=2)

    def test_the_environment_wins_over_the_file_key_by_key(self, file: Path) -> None:
        file.write_text("http: {port: 1, host: '::1'}\n")
        settings = load(file, {"MEDIATOR_HTTP__PORT": "2"})
        assert (settings.http.port, settings.http.host) == (2, "::1")

    def test_flags_win_over_all(self, file: Path) -> None:
        file.write_text("http: {port: 1, host: '::1'}\n")
        settings = load(file, {"MEDIATOR_HTTP__PORT": "2"}, {"http": {"port": 3}})
        assert (settings.http.port, settings.http.host) == (3, "::1")

    def test_a_list_is_replaced_as_a_whole(self, file: Path) -> None:
        file.write_text("auth: {keys: [{id: a, secret_file: a}, {id: b, secret_file: b}]}\n")
        settings = load(file, {"MEDIATOR_AUTH__KEYS": '[{"id": "c", "secret_file": "c"}]'})
        assert [key.id for key in settings.auth.keys] == ["c"]

    def test_relative_paths_are_taken_from_the_directory_of_the_file(self, file: Path) -> None:
        file.write_text("scripts: {directory: mine}\nstore: {url: 'sqlite:///m.db'}\n")
        settings = load(file, {"MEDIATOR_DISPATCH__WORK_DIRECTORY": "work"})
        assert settings.scripts.directory == file.parent / "mine"
        assert settings.store.path == file.parent / "m.db"
        assert settings.store.url == f"sqlite:///{file.parent}/m.db"
        assert settings.dispatch.work_directory == file.parent / "work"
        assert settings.auth.keys[0].secret_file == file.parent / "securechange.key"

    @pytest.mark.parametrize("text", ["", "# nothing\n", "http:\n  # port: 1\n", "---\n"], ids=repr)
    def test_a_file_that_says_nothing_means_the_defaults(self, file: Path, text: str) -> None:
        file.write_text(text)
        assert load(file) == load(None).__class__().anchored(file.parent)

    def test_policies_are_taken_by_exact_script_name(self, file: Path) -> None:
        file.write_text("policies: {notify.py: {timeout: 30s, kind: condition}}\n")
        assert load(file).policies["notify.py"].timeout == timedelta(seconds=30)


class TestFilesThatCannotBeRead:
    def test_a_missing_file(self, file: Path) -> None:
        assert problems(file) == [
            f"{file}: there is no such settings file; name another one with --config."
        ]

    def test_a_directory(self, tmp_path: Path) -> None:
        assert problems(tmp_path) == [
            f"{tmp_path}: the settings file cannot be read (Is a directory)."
        ]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            pytest.param(
                b"a: b: c\n", ":1: the file is not YAML that can be read: mapping", id="y"
            ),
            pytest.param(b"a: 1\nb: [\n", ":3: the file is not YAML", id="an open bracket"),
            pytest.param(b"a: 1\n---\nb: 1\n", ":2: the file is not YAML", id="two documents"),
            pytest.param(b"a: 1\nb: !!python/name:os.system\n", ":2: the file is not", id="python"),
            pytest.param(b"a: 1\nb: \xff\n", ":2: the file is not UTF-8 text", id="latin-1"),
            pytest.param(b"a: 1\nb: \x00\n", ":2: the file holds a control", id="a null byte"),
            pytest.param(b"[" * 3000, ": the file is not YAML that can be read", id="depth"),
            pytest.param(b"- a\n", ": the file is not a mapping of keys", id="a list"),
            pytest.param(b"text\n", ": the file is not a mapping of keys", id="text"),
        ],
    )
    def test_what_is_not_a_yaml_mapping(self, file: Path, content: bytes, sentence: str) -> None:
        file.write_bytes(content)
        (problem,) = problems(file)
        assert problem.startswith(f"{file}{sentence}")
        assert problem.endswith(".")

    def test_a_byte_order_mark_is_no_problem(self, file: Path) -> None:
        file.write_bytes(b"\xef\xbb\xbfhttp: {port: 1}\n")
        assert load(file).http.port == 1


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            pytest.param(
                "\nhttp:\n  prot: 1\n",
                "mediator.yaml:3: http.prot is not a key that exists; did you mean http.port?",
                id="an unknown key with a near one",
            ),
            pytest.param(
                "zonk: 1\n",
                "mediator.yaml:1: zonk is not a key that exists; "
                "known here are http, scripts, environments, store, retention, auth, dispatch, "
                "kubernetes, log, tracing, shim, routes, policies.",
                id="an unknown key like no other",
            ),
            pytest.param(
                "auth:\n  keys:\n  - {id: a, secret_file: a}\n  - id: b\n    secert_file: b\n",
                "mediator.yaml:4: auth.keys[1] lacks secret_file.",
                id="a missing key",
            ),
            pytest.param(
                "http:\n  port: many\n",
                'mediator.yaml:2: http.port is "many", which is not a whole number.',
                id="no number",
            ),
            pytest.param(
                "http: {port: 1.5}\n",
                "mediator.yaml:1: http.port is 1.5, which is not a whole number.",
                id="a fraction",
            ),
            pytest.param(
                "http: {port: yes}\n",
                "mediator.yaml:1: http.port: true is no number or text; "
                "if text is meant, write it in quotes.",
                id="yes",
            ),
            pytest.param(
                "http: {port: 70000}\n",
                "mediator.yaml:1: http.port is 70000, which is above 65535.",
                id="too large",
            ),
            pytest.param(
                "dispatch: {slots: 0}\n",
                "mediator.yaml:1: dispatch.slots is 0, which is below 1.",
                id="too small",
            ),
            pytest.param(
                "dispatch: {grace: 0s}\n",
                'mediator.yaml:1: dispatch.grace is "0s", and must be above 0.',
                id="no duration above zero",
            ),
            pytest.param(
                "dispatch: {timeout: 5}\n",
                "mediator.yaml:1: dispatch.timeout: "
                "5 is not a duration such as 200ms, 2s, 5m or 24h.",
                id="a duration without unit",
            ),
            pytest.param(
                "log: {level: verbose}\n",
                'mediator.yaml:1: log.level is "verbose", '
                "which is none of debug, info, warning, error.",
                id="none of the choices",
            ),
            pytest.param(
                "http: {host: 1}\n",
                "mediator.yaml:1: http.host is 1, which is not text; write it in quotes.",
                id="not text",
            ),
            pytest.param(
                "dispatch: {pass_env: TZ}\n",
                "mediator.yaml:1: dispatch.pass_env is not a list but text; write it as [...].",
                id="text for a list",
            ),
            pytest.param(
                "http: 8080\n",
                "mediator.yaml:1: http is not a mapping of keys to values.",
                id="a number for a section",
            ),
            pytest.param(
                "auth: {keys: []}\n",
                "mediator.yaml:1: auth.keys needs at least 1 entry.",
                id="an empty list",
            ),
            pytest.param(
                "auth: {keys: [{id: a, secret_file: [x]}]}\n",
                "mediator.yaml:1: auth.keys[0].secret_file is not the name of a file or directory.",
                id="no path",
            ),
            pytest.param(
                "auth: {keys: [{id: a b, secret_file: x}]}\n",
                'mediator.yaml:1: auth.keys[0].id is "a b", which does not have the form '
                "^[A-Za-z0-9][A-Za-z0-9._-]*$.",
                id="a name with a space",
            ),
            pytest.param(
                "dispatch:\n  env:\n    A: x\n    1B: y\n",
                "mediator.yaml:4: dispatch.env.1B is a value that is not shown here, "
                "which does not have the form ^[A-Za-z_][A-Za-z0-9_]*$.",
                id="a wrong key of a mapping",
            ),
            pytest.param(
                "policies:\n  notify.py:\n    retry: {atempts: 1}\n",
                "mediator.yaml:3: policies.notify.py.retry.atempts is not a key that exists; "
                "did you mean policies.notify.py.retry.attempts?",
                id="deep down",
            ),
            pytest.param(
                "http:\n  port: 1\n  host: a\n  port: 2\n",
                "mediator.yaml:4: port is given twice, first in line 2; keep one.",
                id="a key given twice",
            ),
            pytest.param(
                "policies:\n  on: {}\n",
                "mediator.yaml:2: on is not a text key; write it in quotes.",
                id="a key that YAML takes for true",
            ),
        ],
    )
    def test_a_problem_says_where_what_and_what_to_do(
        self, file: Path, text: str, sentence: str
    ) -> None:
        file.write_text(text)
        assert sentence in [line.removeprefix(f"{file.parent}/") for line in problems(file)]

    def test_all_problems_are_said_at_once_a_line_each(self, file: Path) -> None:
        file.write_text("http: {prot: 1, port: x}\nlog: {level: 1}\nlog: {}\n")
        said = problems(file, {"MEDIATOR_HTTP__METRICS_PORT": "y"})
        assert len(said) == 4
        assert all(line.endswith((".", "?")) for line in said)

    def test_entries_that_are_wrong_do_not_make_the_list_empty_too(self, file: Path) -> None:
        assert "lacks secret_file" in only_problem(file, "auth: {keys: [{id: a}]}\n")

    def test_aliases_and_merge_keys_keep_their_lines(self, file: Path) -> None:
        text = (
            "policies:\n  a.py: &base\n    timeout: 1s\n"
            "  b.py:\n    <<: *base\n    concurrency: none\n"
        )
        assert only_problem(file, text).startswith("mediator.yaml:6: policies.b.py.concurrency")

    def test_an_alias_that_leads_back_to_itself_is_survived(self, file: Path) -> None:
        file.write_text("policies: &all\n  a.py: *all\n")
        assert problems(file)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("dispatch: {env: {PASSWORD: [hunter2]}}\n", id="a variable of scripts"),
            pytest.param("auth: {keys: hunter2}\n", id="a secret for a list"),
            pytest.param("auth: {keys: [hunter2]}\n", id="a secret for a key"),
            pytest.param("auth: {keys: [{id: a, secret: hunter2}]}\n", id="a secret in place"),
            pytest.param("auth: {password: hunter2}\n", id="an unknown key"),
            pytest.param("store: {url: 'postgresql://u:hunter2@h/db'}\n", id="a database URL"),
            pytest.param("store: {url: 'sqlite:///x?key=hunter2'}\n", id="an option of the store"),
        ],
    )
    def test_what_may_be_a_secret_is_never_shown(self, file: Path, text: str) -> None:
        file.write_text(text)
        assert "hunter2" not in "\n".join(problems(file))


class TestWhoSaidIt:
    def test_the_variable_is_named_when_it_overrode_the_file(self, file: Path) -> None:
        file.write_text("http: {port: 1}\n")
        assert problems(file, {"MEDIATOR_HTTP__PORT": "x"}) == [
            'MEDIATOR_HTTP__PORT: http.port is "x", which is not a whole number.'
        ]

    def test_the_file_is_named_when_the_variable_states_another_key(self, file: Path) -> None:
        file.write_text("http:\n  port: x\n")
        (problem,) = problems(file, {"MEDIATOR_HTTP__HOST": "::1"})
        assert problem.startswith(f"{file}:2: http.port")

    def test_the_variable_is_named_for_what_its_list_lacks(self, file: Path) -> None:
        file.write_text("auth: {keys: [{id: a, secret_file: a}]}\n")
        assert problems(file, {"MEDIATOR_AUTH__KEYS": '[{"id": "b"}]'}) == [
            "MEDIATOR_AUTH__KEYS: auth.keys[0] lacks secret_file."
        ]

    def test_the_command_line_is_named(self, file: Path) -> None:
        file.write_text("http: {port: 1}\n")
        assert problems(file, {}, {"http": {"port": -1}}) == [
            "command line: http.port is -1, which is below 0."
        ]
