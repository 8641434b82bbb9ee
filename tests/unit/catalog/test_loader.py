"""The scripts directory: which files are scripts, which can run, and why the others cannot."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Catalog, EnvironmentState
from mediator.errors import SettingsError
from mediator.model.policy import Kind
from mediator.settings.schema import Settings

SHELL = "#!/bin/sh\nexit 0\n"
NOBODY = 65534


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    directory = tmp_path / "scripts"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Run without the rights of root, for whom every file is readable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def add(directory: Path, name: str, content: str = SHELL, mode: int = 0o755) -> Path:
    path = directory / name
    path.write_bytes(content.encode())
    path.chmod(mode)
    return path


def loaded(directory: Path, search_path: str | None = None, **sections: Any) -> Catalog:
    settings = Settings.model_validate({"scripts": {"directory": directory}, **sections})
    return ScriptsDirectory(settings=settings, search_path=search_path).load()


def with_dependencies(first_line: str, *dependencies: str) -> str:
    return f"{first_line}\n# /// script\n# dependencies = {list(dependencies)}\n# ///\n"


def problem(directory: Path, name: str) -> str:
    return loaded(directory).scripts[name].problem


class TestWhatIsAScript:
    def test_an_executable_file_with_a_shebang_is_ready(self, scripts: Path) -> None:
        path = add(scripts, "notify.sh")
        script = loaded(scripts).ready("notify.sh")
        assert script.path == path
        assert (script.problem, script.warning) == ("", "")

    @pytest.mark.parametrize(
        ("name", "content", "mode"),
        [
            pytest.param(".hidden.sh", SHELL, 0o755, id="a dotfile"),
            pytest.param("notify.sh~", SHELL, 0o755, id="an editor's backup"),
            pytest.param("README.md", "# Read me\n", 0o755, id="a text that a mount made run"),
            pytest.param("data.csv", "a,b\n", 0o644, id="data"),
            pytest.param("common.py", "x = 1\n", 0o644, id="a module"),
        ],
    )
    def test_some_files_are_no_scripts(
        self, scripts: Path, name: str, content: str, mode: int
    ) -> None:
        add(scripts, name, content, mode)
        assert loaded(scripts).scripts == {}

    def test_directories_are_no_scripts(self, scripts: Path) -> None:
        (scripts / "__pycache__").mkdir()
        (scripts / "lib").symlink_to("__pycache__")
        assert loaded(scripts).scripts == {}

    def test_scripts_are_in_alphabetical_order(self, scripts: Path) -> None:
        for name in ("b.sh", "a.sh", "c.sh"):
            add(scripts, name)
        assert list(loaded(scripts).scripts) == ["a.sh", "b.sh", "c.sh"]

    def test_the_catalog_does_not_change(self, scripts: Path) -> None:
        add(scripts, "a.sh")
        with pytest.raises(TypeError):
            loaded(scripts).scripts["b.sh"] = None  # type: ignore[index]

    def test_a_file_whose_name_is_not_text_is_left_out_with_a_warning(self, scripts: Path) -> None:
        Path(os.fsdecode(os.fsencode(scripts) + b"/a\xff.sh")).write_text(SHELL)
        add(scripts, "a\nb.sh")
        there = loaded(scripts)
        assert there.scripts == {}
        assert there.warnings == (
            "the file 'a\\nb.sh' is left out: its name is not printable text.",
            "the file 'a\\udcff.sh' is left out: its name is not printable text.",
        )


class TestBrokenScripts:
    def test_a_broken_script_stops_no_other(self, scripts: Path) -> None:
        add(scripts, "broken.sh", "#!/no/such\n")
        add(scripts, "good.sh")
        there = loaded(scripts)
        assert there.ready("good").name == "good.sh"
        assert not there.find("broken").ready

    @pytest.mark.parametrize(
        ("content", "mode", "sentence"),
        [
            pytest.param(SHELL, 0o644, "it is not executable; run chmod +x on it.", id="no x"),
            pytest.param(
                SHELL,
                0o757,
                "every user of this machine may write to it; run chmod o-w on it.",
                id="writable by all",
            ),
            pytest.param(
                "print()\n",
                0o755,
                "it does not begin with #!; make its first line one such as "
                "#!/usr/bin/env python3.",
                id="no shebang",
            ),
        ],
    )
    def test_the_reason_is_a_sentence(
        self, scripts: Path, content: str, mode: int, sentence: str
    ) -> None:
        add(scripts, "a.py", content, mode)
        assert problem(scripts, "a.py") == sentence

    def test_a_named_pipe_is_listed_without_waiting(self, scripts: Path) -> None:
        os.mkfifo(scripts / "pipe")
        assert problem(scripts, "pipe") == "it is a named pipe, not a file."

    @pytest.mark.usefixtures("as_nobody")
    def test_a_script_that_may_not_be_read_is_listed(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            add(directory, "secret.sh", mode=0o311)
            add(directory, "good.sh")
            assert problem(directory, "secret.sh") == (
                "the mediator's user may not read it; run chmod a+r on it."
            )
            assert loaded(directory).find("good").ready

    @pytest.mark.usefixtures("as_nobody")
    def test_a_script_that_only_others_may_execute_is_listed(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            add(Path(name), "theirs.sh", mode=0o645)
            assert problem(Path(name), "theirs.sh").startswith(
                "the mediator's user may not execute it; run chmod a+x on it"
            )

    def test_the_interpreter_is_looked_for_on_the_path_the_script_will_get(
        self, scripts: Path, tmp_path: Path
    ) -> None:
        add(tmp_path, "tool")
        add(scripts, "a", "#!/usr/bin/env tool\n")
        assert "will not find 'tool'" in loaded(scripts, "/nowhere").scripts["a"].problem
        assert loaded(scripts, str(tmp_path)).scripts["a"].ready
        by_policy = {"a": {"env": {"PATH": str(tmp_path)}}}
        assert loaded(scripts, "/nowhere", policies=by_policy).scripts["a"].ready


class TestLinks:
    def test_a_link_inside_is_fine_and_its_own_name_counts(self, scripts: Path) -> None:
        add(scripts, "notify.sh")
        (scripts / "mail.sh").symlink_to("notify.sh")
        script = loaded(scripts).ready("mail")
        assert script.path == scripts / "mail.sh"

    def test_a_link_that_leaves_the_directory_is_refused(
        self, scripts: Path, tmp_path: Path
    ) -> None:
        outside = add(tmp_path, "outside.sh")
        (scripts / "a.sh").symlink_to(outside)
        (scripts / "b.sh").symlink_to("../outside.sh")
        for name in ("a.sh", "b.sh"):
            assert problem(scripts, name) == (
                f"it is a symbolic link that leaves the scripts directory, to {outside}."
            )

    def test_a_directory_whose_name_only_begins_the_same_is_outside(
        self, scripts: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "scripts-old").mkdir()
        add(tmp_path / "scripts-old", "a.sh")
        (scripts / "a.sh").symlink_to("../scripts-old/a.sh")
        assert "leaves the scripts directory" in problem(scripts, "a.sh")

    def test_links_to_nowhere_and_in_a_circle_are_listed(self, scripts: Path) -> None:
        (scripts / "gone").symlink_to("nowhere")
        (scripts / "circle").symlink_to("circle")
        assert problem(scripts, "gone") == "it is a symbolic link to a file that does not exist."
        assert problem(scripts, "circle").startswith("it cannot be looked at (Too many levels")

    def test_the_scripts_directory_may_itself_be_a_link(
        self, scripts: Path, tmp_path: Path
    ) -> None:
        add(scripts, "a.sh")
        (tmp_path / "link").symlink_to("scripts")
        assert loaded(tmp_path / "link").ready("a").path == tmp_path / "link" / "a.sh"


class TestPolicies:
    BLOCK = '#!/bin/sh\n# /// script\n# [tool.mediator]\n# timeout = "1m"\n# grace = "1s"\n# ///\n'

    def test_the_settings_win_over_the_script_which_wins_over_the_defaults(
        self, scripts: Path
    ) -> None:
        add(scripts, "a.sh", self.BLOCK)
        policy = (
            loaded(
                scripts,
                policies={"a.sh": {"timeout": "9s"}},
                dispatch={"timeout": "1h", "grace": "1h", "retry": {"attempts": 2}},
            )
            .ready("a")
            .policy
        )
        assert policy.timeout == timedelta(seconds=9)
        assert policy.grace == timedelta(seconds=1)
        assert policy.retry.attempts == 2

    def test_the_policy_may_stand_in_a_file_beside_the_script(self, scripts: Path) -> None:
        add(scripts, "check.pl")
        add(scripts, "check.pl.toml", 'kind = "condition"\n', 0o644)
        there = loaded(scripts)
        assert there.ready("check").policy.kind is Kind.CONDITION
        assert list(there.scripts) == ["check.pl"]
        assert there.warnings == ()

    def test_a_policy_stated_twice_is_refused_naming_both_places(self, scripts: Path) -> None:
        add(scripts, "a.sh", self.BLOCK)
        add(scripts, "a.sh.toml", 'timeout = "1m"\n', 0o644)
        assert problem(scripts, "a.sh") == (
            "its policy is stated twice, in [tool.mediator] of a.sh and in a.sh.toml; keep one."
        )

    def test_a_block_without_policy_and_a_file_beside_it_add_up(self, scripts: Path) -> None:
        add(scripts, "a.sh", '#!/bin/sh\n# /// script\n# requires-python = ">=3.9"\n# ///\n')
        add(scripts, "a.sh.toml", 'description = "x"\ntimeout = "1m"\n', 0o644)
        script = loaded(scripts).ready("a")
        assert script.requires_python == ">=3.9"
        assert script.description == "x"
        assert script.policy.timeout == timedelta(minutes=1)

    def test_a_wrong_policy_breaks_the_script_and_names_the_line(self, scripts: Path) -> None:
        add(scripts, "a.sh", self.BLOCK.replace("grace", "garce"))
        there = loaded(scripts, policies={"a.sh": {"concurrency": 3}})
        script = there.find("a")
        assert script.problem == ("a.sh:5: garce is not a key that exists; did you mean grace?")
        assert script.policy.timeout == timedelta(minutes=5)
        assert script.policy.concurrency == 3

    def test_a_policy_file_that_all_may_write_to_is_refused(self, scripts: Path) -> None:
        add(scripts, "a.sh")
        add(scripts, "a.sh.toml", 'env = { LD_PRELOAD = "/tmp/x.so" }\n', 0o646)
        assert problem(scripts, "a.sh") == (
            "its policy file a.sh.toml: every user of this machine may write to it; "
            "run chmod o-w on it."
        )

    def test_a_file_with_a_policy_beside_it_is_meant_to_be_a_script(self, scripts: Path) -> None:
        add(scripts, "a.py", "print()\n", 0o644)
        add(scripts, "a.py.toml", "", 0o644)
        assert problem(scripts, "a.py") == "it is not executable; run chmod +x on it."

    def test_dependencies_of_a_python_script_are_its_need(self, scripts: Path) -> None:
        add(scripts, "a.py", with_dependencies("#!/usr/bin/env python3", "Requests", "ABC_d >= 1"))
        script = loaded(scripts).ready("a")
        assert script.dependencies == ("Requests", "ABC_d >= 1")
        assert script.requirements is not None
        assert script.requirements.packages == ("abc-d>=1", "requests")
        assert script.environment is EnvironmentState.MISSING
        assert script.warning == ""

    def test_dependencies_of_what_is_not_python_are_a_warning(self, scripts: Path) -> None:
        add(scripts, "a.sh", with_dependencies("#!/bin/sh", "requests"))
        script = loaded(scripts).ready("a")
        assert script.requirements is None
        assert script.warning == (
            "it states dependencies, and its first line runs no Python: "
            "they are not installed for it."
        )

    def test_an_environment_that_the_author_names_is_left_to_the_author(
        self, scripts: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "venv" / "bin").mkdir(parents=True)
        (tmp_path / "venv" / "pyvenv.cfg").touch()
        python = tmp_path / "venv" / "bin" / "python"
        python.symlink_to("/bin/sh")
        add(scripts, "a.py", with_dependencies(f"#!{python}", "requests"))
        script = loaded(scripts).ready("a")
        assert script.requirements is None
        assert "names an environment of its own" in script.warning

    @pytest.mark.parametrize(
        ("block", "sentence"),
        [
            pytest.param(
                'dependencies = ["-r other.txt"]',
                "a.py: '-r other.txt' in dependencies is no requirement: ",
                id="an option",
            ),
            pytest.param(
                'requires-python = "3"',
                "a.py: requires-python is '3', which is none such as '>=3.11'.",
                id="a version without comparison",
            ),
        ],
    )
    def test_what_is_no_requirement_is_a_problem(
        self, scripts: Path, block: str, sentence: str
    ) -> None:
        add(scripts, "a.py", f"#!/usr/bin/env python3\n# /// script\n# {block}\n# ///\n")
        assert problem(scripts, "a.py").startswith(sentence)

    def test_only_the_first_mebibyte_is_read(self, scripts: Path) -> None:
        add(scripts, "big.sh", "#!/bin/sh\n" + "#" * 2**20 + "\n" + self.BLOCK)
        assert loaded(scripts).ready("big").policy.timeout == timedelta(minutes=5)


class TestWarnings:
    def test_a_policy_in_the_settings_for_no_script_names_the_nearest(self, scripts: Path) -> None:
        add(scripts, "notify.py")
        assert loaded(scripts, policies={"notfy.py": {}, "zzz": {}}).warnings == (
            "policies names notfy.py, and there is no such script; did you mean notify.py?",
            "policies names zzz, and there is no such script.",
        )

    def test_a_key_for_no_script_is_a_warning(self, scripts: Path) -> None:
        add(scripts, "notify.py")
        key = {"id": "a", "secret_file": "a", "scripts": ["notify.py", "notify"]}
        assert loaded(scripts, auth={"keys": [key]}).warnings == (
            (
                "auth.keys[0].scripts names notify, and there is no such script; "
                "did you mean notify.py?"
            ),
        )

    def test_a_policy_file_of_no_script_is_a_warning(self, scripts: Path) -> None:
        add(scripts, "notify.pl")
        add(scripts, "notify.toml", "", 0o644)
        assert loaded(scripts).warnings == (
            (
                "the policy file notify.toml belongs to no script: there is no notify; "
                "call it notify.pl.toml."
            ),
        )

    def test_a_directory_that_all_may_write_to_is_a_warning(self, scripts: Path) -> None:
        scripts.chmod(0o777)
        assert loaded(scripts).warnings == (
            f"every user of this machine may write to {scripts}; run chmod o-w on it.",
        )


class TestVersions:
    def test_a_script_knows_the_digest_of_the_whole_file(self, scripts: Path) -> None:
        content = SHELL + "#" * 2**21
        add(scripts, "a.sh", content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        assert loaded(scripts).ready("a").sha256 == digest

    @pytest.mark.parametrize("name", ["a.sh", "a.sh.toml"])
    def test_it_tells_whether_its_files_are_still_the_same(self, scripts: Path, name: str) -> None:
        add(scripts, "a.sh")
        script = loaded(scripts).ready("a")
        assert script.unchanged()
        add(scripts, name, "# other\n")
        assert not script.unchanged()

    def test_it_tells_that_its_fallback_has_changed(self, scripts: Path) -> None:
        add(
            scripts,
            "no.xml",
            "<response><condition_result>true</condition_result></response>",
            0o644,
        )
        add(
            scripts,
            "a.sh",
            "#!/bin/sh\n# /// script\n# [tool.mediator]\n# kind = 'condition'\n"
            "# fallback = { stdout_file = 'no.xml' }\n# ///\n",
        )
        script = loaded(scripts).ready("a")
        add(scripts, "no.xml", "<response/>", 0o644)
        assert not script.unchanged()

    def test_it_tells_that_its_interpreter_has_gone(self, scripts: Path, tmp_path: Path) -> None:
        add(scripts, "a.sh")
        script = replace(loaded(scripts).ready("a"), interpreter=(str(tmp_path / "python"), "-u"))
        assert not script.unchanged()
        (tmp_path / "python").touch()
        assert script.unchanged()


class TestTheDirectoryItself:
    def test_an_empty_one_is_fine(self, scripts: Path) -> None:
        assert loaded(scripts).scripts == {}

    def test_a_missing_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError) as caught:
            loaded(tmp_path / "none")
        assert str(caught.value) == (
            f"scripts.directory: {tmp_path / 'none'} does not exist; make it, or name another."
        )

    def test_a_file_in_its_place_is_refused(self, tmp_path: Path) -> None:
        add(tmp_path, "file")
        with pytest.raises(SettingsError, match=r"cannot be listed \(Not a directory\)"):
            loaded(tmp_path / "file")

    def test_reading_again_sees_what_changed(self, scripts: Path) -> None:
        path = add(scripts, "a.sh", mode=0o644)
        reader = ScriptsDirectory(
            settings=Settings.model_validate({"scripts": {"directory": scripts}})
        )
        before = reader.load()
        path.chmod(0o755)
        assert reader.load().find("a").ready
        assert not before.find("a").ready
