"""What a Python script needs to run: packages, and a Python that is new enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from mediator.catalog.unfit import Unfit

_VERSIONED = re.compile(r"(?:python|pypy)(\d+\.\d+)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What scripts have in common that can share an environment."""

    requirements: tuple[str, ...] = ()
    """normalised and sorted; none: an interpreter is all it takes"""
    requires_python: str = ""
    """a PEP 440 specifier; empty: any"""
    interpreter: str = ""
    """what the first line names, found on the PATH of scripts; empty: nothing that is there"""
    version: str = ""
    """the minor version that the first line names, such as 3.12; empty: none"""
    flags: tuple[str, ...] = ()
    """options of the interpreter in the first line"""

    @property
    def key_parts(self) -> tuple[tuple[str, ...], str]:
        """What decides which packages are installed, besides the interpreter and the settings."""
        return self.requirements, self.requires_python

    def accepts(self, version: str) -> bool:
        """Whether a Python of this version is new enough."""
        return SpecifierSet(self.requires_python).contains(version, prereleases=True)

    @property
    def shared(self) -> Need:
        """The same without what only matters when the script is started."""
        return replace(self, flags=())


def normalised(dependencies: Sequence[str], file: str) -> tuple[str, ...]:
    """PEP 508 requirements in one spelling and order. Raises `Unfit` for what is none."""
    return tuple(sorted({_normalised(stated, file) for stated in dependencies}))


def _normalised(stated: str, file: str) -> str:
    try:
        requirement = Requirement(stated)
    except InvalidRequirement as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise Unfit(f"{file}: {stated!r} in dependencies is no requirement: {why}.") from error
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def refuse_odd_specifier(requires_python: str, file: str) -> None:
    """Raise `Unfit` for what is no PEP 440 specifier."""
    try:
        SpecifierSet(requires_python)
    except InvalidSpecifier as error:
        raise Unfit(
            f"{file}: requires-python is {requires_python!r}, which is none such as '>=3.11'."
        ) from error


def version_in(program: str) -> str:
    """`3.12` for `/usr/bin/python3.12`, nothing for `python3`."""
    found = _VERSIONED.search(program)
    return found[1] if found else ""


def in_an_environment(program: str) -> bool:
    """Whether an interpreter's path is in an environment that somebody has made for it.

    See https://docs.python.org/3/library/site.html for the file.
    """
    path = Path(program)
    return path.is_absolute() and (path.parent.parent / "pyvenv.cfg").is_file()
