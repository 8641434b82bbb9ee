"""What `mediator new` writes: a script of a kind, in a language, and what SecureChange sends it.

The texts are in `skeletons/`, without their first line and their policy, which are the same for
all kinds but for a few keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import PurePath

from mediator.cli.failures import USAGE, Failure
from mediator.model.kinds import Kind


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


def language_of(name: str, wanted: Language | None) -> tuple[str, Language]:
    """The file name with its suffix, and the language. Raises `Failure` for an unfit name."""
    if not name.isprintable() or "/" in name or name.startswith((".", "-")) or len(name) > _LONGEST:
        raise _unfit(f"{name!r} is no name for a script: say it without directory, such as decide.")
    suffix = PurePath(name).suffix
    by_suffix = _SUFFIXES.get(suffix)
    if not suffix:
        language = wanted or Language.PYTHON
        return name + _USUAL[language], language
    if by_suffix is None:
        raise _unfit(f"{name}: a script is written in Python (.py) or bash (.sh), not {suffix}.")
    if wanted not in {None, by_suffix}:
        raise _unfit(f"{name} ends as {by_suffix} does, and --language says {wanted}.")
    return name, by_suffix


def _unfit(sentence: str) -> Failure:
    return Failure(sentence, exit_code=USAGE)


def _read(file: str) -> str:
    return resources.files("mediator.cli").joinpath("skeletons", file).read_text(encoding="utf-8")
