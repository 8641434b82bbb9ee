"""`mediator new`: a script that works, with a ticket to try it on."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path, PurePath
from typing import Annotated

import typer

from mediator.cli import options
from mediator.cli.failures import USAGE, Failure
from mediator.cli.output import say
from mediator.model.policy import Kind


class Language(StrEnum):
    """What a script is written in."""

    PYTHON = "python"
    BASH = "bash"


_SUFFIXES = {".py": Language.PYTHON, ".sh": Language.BASH, ".bash": Language.BASH}
_USUAL = {Language.PYTHON: ".py", Language.BASH: ".sh"}
_FIRST_LINES = {
    Language.PYTHON: "#!/usr/bin/env python3",
    Language.BASH: "#!/usr/bin/env bash",
}
_PYTHON_KEYS = (
    'requires-python = ">=3.9"',
    'dependencies = []            # packages to install, such as ["requests>=2.32"]',
)
_TRIGGER_KEYS = (
    'timeout = "2m"               # then it is stopped, and tried again',
    'retry = { attempts = 5, first = "2s", longest = "10m" }',
    "give_up_on = [64, 65, 77, 78]  # exit codes after which trying again is useless",
    '# order = "ticket"           # one ticket\'s deliveries one after another',
    '# pass_env = ["HTTPS_PROXY"] # variables of the mediator that it gets too',
)
_INTERACTIVE_KEYS = (
    'timeout = "20s"              # SecureChange waits, so there is one attempt only',
    '# pass_env = ["HTTPS_PROXY"] # variables of the mediator that it gets too',
)
_SAMPLES = {
    Kind.ASSIGNMENT: "scripted_decommission_task_request",
    Kind.RISK_ANALYSIS: "field_info",
}
"""What SecureChange sends, where that is not a ticket."""
_EVENTS = {Kind.TRIGGER: "CREATE", Kind.PRE_ASSIGNMENT: "PRE_ASSIGNMENT_SCRIPT"}
"""Values of SCW_EVENT; for the other kinds none is known."""
_ARGUMENTS = {Kind.CONDITION: ("4711",)}
_LONGEST = 200
"""Characters of a file name; the sample's is a little longer."""
app = typer.Typer(add_completion=False)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Its file name; without a suffix it gets one.")
]
OfKind = Annotated[
    Kind, typer.Option("--kind", "-k", help="What SecureChange expects of the script.")
]
InLanguage = Annotated[
    Language | None,
    typer.Option(
        "--language", help="What it is written in; by default by the suffix, else Python."
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        metavar="DIR",
        help="Where it is put; by default scripts.directory of the settings.",
        show_default=False,
    ),
]


@app.command(epilog="Example: mediator new decide --kind condition")
def new(
    name: Name,
    *,
    kind: OfKind = Kind.TRIGGER,
    language: InLanguage = None,
    directory: Directory = None,
    config: options.Config = None,
) -> None:
    """Write a script that works, and a ticket to try it on.

    It reads what SecureChange sends to its kind and answers as its kind must;
    comments say what to change. Nothing that is there is written over. Ends
    with the next three commands to type.
    """
    file_name, written_in = language_of(name, language)
    place = directory or options.settings(config).scripts.directory
    skeleton = Skeleton(name=file_name, kind=kind, language=written_in)
    script = place / skeleton.name
    sample = place / skeleton.sample_name
    _refuse_same_stem(script)
    place.mkdir(parents=True, exist_ok=True)
    _write(script, skeleton.text(), mode=0o755)
    if sample.exists():
        say(f"{sample} is there already, and stays as it is")
    else:
        _write(sample, skeleton.sample(), mode=0o644)
    _tell(skeleton, script, sample, own_config=config)


def language_of(name: str, wanted: Language | None) -> tuple[str, Language]:
    """The file name with its suffix, and the language. Raises `Failure` for what is no name."""
    if not name.isprintable() or "/" in name or name.startswith((".", "-")) or len(name) > _LONGEST:
        raise _misnamed(
            f"{name!r} is no name for a script: say it without directory, such as decide."
        )
    suffix = PurePath(name).suffix
    by_suffix = _SUFFIXES.get(suffix)
    if not suffix:
        language = wanted or Language.PYTHON
        return name + _USUAL[language], language
    if by_suffix is None:
        raise _misnamed(f"{name}: a script is written in Python (.py) or bash (.sh), not {suffix}.")
    if wanted not in {None, by_suffix}:
        raise _misnamed(f"{name} ends as {by_suffix} does, and --language says {wanted}.")
    return name, by_suffix


@dataclass(frozen=True, kw_only=True, slots=True)
class Skeleton:
    """A script to be written."""

    name: str
    """its file name"""
    kind: Kind
    language: Language

    @property
    def sample_name(self) -> str:
        """The file name of the ticket; `.xml` is data, and is not taken for a script."""
        return f"{PurePath(self.name).stem}.sample.xml"

    @property
    def call(self) -> tuple[str, ...]:
        """The options of `mediator run` that make it as SecureChange calls this kind."""
        return "--event", _EVENTS.get(self.kind, "")

    @property
    def arguments(self) -> tuple[str, ...]:
        """What SecureChange gives this kind as arguments, with the sample."""
        return _ARGUMENTS.get(self.kind, ())

    def text(self) -> str:
        """The whole script."""
        suffix = _USUAL[self.language]
        body = _read(f"{self.kind}{suffix}.txt").replace("@NAME@", self.name)
        return "\n".join([_FIRST_LINES[self.language], *self._block(), body])

    def sample(self) -> str:
        """What SecureChange sends to this kind."""
        return _read(f"{_SAMPLES.get(self.kind, 'ticket_info')}.xml")

    def _block(self) -> list[str]:
        keys = _PYTHON_KEYS if self.language is Language.PYTHON else ()
        policy = _INTERACTIVE_KEYS if self.kind.interactive else _TRIGGER_KEYS
        lines = (*keys, "[tool.mediator]", f'kind = "{self.kind}"', *policy)
        return ["# /// script", *(f"# {line}" for line in lines), "# ///"]


def _misnamed(sentence: str) -> Failure:
    return Failure(sentence, exit_code=USAGE)


def _read(file: str) -> str:
    return resources.files("mediator.cli").joinpath("skeletons", file).read_text(encoding="utf-8")


def _refuse_same_stem(script: Path) -> None:
    """SecureChange calls a script without its suffix, and two of one name are ambiguous."""
    for other in sorted(script.parent.glob(f"{script.stem}.*")):
        if other.suffix in {".py", ".sh", ".bash"} and other.name != script.name:
            raise Failure(
                f"{other} is there already: the name {script.stem} would be ambiguous."
                " Choose another."
            )


def _write(path: Path, text: str, *, mode: int) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        path.chmod(mode)  # whatever the umask is: every user of the machine may read and run it
    except FileExistsError as error:
        raise Failure(f"{path} is there already; nothing was written over.") from error
    except OSError as error:
        raise Failure(f"{path} cannot be written ({error.strerror}).") from error


def _tell(skeleton: Skeleton, script: Path, sample: Path, *, own_config: Path | None) -> None:
    config = [] if own_config is None else ["--config", str(own_config)]
    ticket = ["--ticket", _short(sample), *skeleton.call]
    arguments = ["--", *skeleton.arguments] if skeleton.arguments else []
    print(f"{_short(script)}: a {skeleton.kind} script")  # noqa: T201 - this is the output
    print(f"{_short(sample)}: a ticket to try it on\n")  # noqa: T201
    for comment, words in (
        ("what is wrong with it", ["check", *config, script.name]),
        ("run it once, as in production", ["run", *config, script.name, *ticket, *arguments]),
        ("run it whenever you save it", ["watch", *config, script.name, *ticket, *arguments]),
    ):
        print(f"# {comment}\nmediator {shlex.join(words)}")  # noqa: T201


def _short(path: Path) -> str:
    """As seen from here, if it is below."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
