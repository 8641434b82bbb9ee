"""One script file of the scripts directory, read with the files that belong to it.

What was read holds for as long as these files stay as they were; what depends on anything else,
such as installed interpreters, is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mediator.catalog.files import (
    MISSING,
    BeingWritten,
    FileHead,
    FileState,
    Fingerprint,
    InvalidScript,
    fingerprint,
    read_head,
    refuse_not_executable,
    refuse_writable_by_all,
    sha256_of,
)
from mediator.catalog.interpreter import starts_like_a_program
from mediator.catalog.metadata import (
    Metadata,
    find_block,
    normalised,
    read_block,
    read_sidecar,
    refuse_odd_specifier,
)
from mediator.model.answers import problem_of_answer
from mediator.model.policy import Policy, StatedPolicy, resolve
from mediator.settings.kubernetes import Kubernetes
from mediator.settings.schema import Settings

SIDECAR = ".toml"
_DATA = frozenset({".cfg", ".conf", ".csv", ".ini", ".json", ".md", ".rst", ".txt", ".xml"}) | {
    ".yaml",
    ".yml",
}
"""Suffixes of what is no script, even where a mount makes every file executable."""
_FIRST_LINE = 4096
"""Bytes kept of a file's beginning; the kernel reads fewer."""


@dataclass(kw_only=True, slots=True)
class ScriptFile:
    """What one file is, and what it says of itself."""

    path: Path
    policy: Policy
    """of a broken script: the settings' part of it alone, when its own cannot be read"""
    files: tuple[FileState, ...] = ()
    """what it was read from"""
    is_script: bool = True
    """or data, a module and the like"""
    problem: str = ""
    beginning: bytes = b""
    """the first line, and perhaps more"""
    metadata: Metadata = field(default_factory=Metadata)
    packages: tuple[str, ...] = ()
    """the requirements it states, normalised"""
    fallback: bytes | None = None
    sha256: str = ""

    def holds(self, states: Mapping[str, Fingerprint]) -> bool:
        """Whether the files are still as they were."""
        return all(states.get(path.name, MISSING) == state for path, state in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptsListing:
    """The scripts directory, listed."""

    directory: Path
    """as the settings name it"""
    resolved: Path
    """without links"""
    states: Mapping[str, Fingerprint]

    def state(self, name: str) -> FileState:
        """A file's path and how it was when the directory was listed."""
        return self.directory / name, self.states.get(name, MISSING)

    def sidecar(self, name: str) -> str | None:
        """The name of the file beside a script that states its policy, if there is one."""
        sidecar = name + SIDECAR
        return sidecar if sidecar in self.states else None


def read_script(name: str, listing: ScriptsListing, settings: Settings) -> ScriptFile:
    """Read one file. Raises `BeingWritten` when one of its files changes meanwhile."""
    file = ScriptFile(path=listing.directory / name, policy=_policy(settings, name))
    try:
        _fill(file, listing, settings)
    except BeingWritten:
        raise
    except InvalidScript as error:
        file.problem = str(error)
    fallback = file.policy.fallback
    members = [name, name + SIDECAR, *([fallback.stdout_file] if fallback else ())]
    file.files = tuple(listing.state(member) for member in members)
    if any(fingerprint(path) != state for path, state in file.files):
        raise BeingWritten("it is being written.")
    return file


def _fill(file: ScriptFile, listing: ScriptsListing, settings: Settings) -> None:
    path = file.path
    head = read_head(path, listing.resolved)
    file.is_script = _is_script(path, head, listing)
    if not file.is_script:
        return
    file.beginning = head.data[:_FIRST_LINE]
    file.sha256 = sha256_of(path, head.state)
    refuse_writable_by_all(head)
    file.metadata = metadata = _stated_metadata(path, head, listing)
    file.policy = _policy(settings, path.name, metadata.policy)
    refuse_odd_specifier(metadata.requires_python, path.name)
    file.packages = normalised(metadata.dependencies, path.name)
    refuse_not_executable(path, head)
    file.fallback = _fallback(path, file.policy, listing)
    refuse_no_cluster(file.policy, settings.kubernetes)


def _policy(settings: Settings, name: str, *stated: StatedPolicy) -> Policy:
    overriding = settings.policies.get(name, StatedPolicy())
    return resolve(settings.policy_defaults, *stated, overriding)


def refuse_no_cluster(policy: Policy, settings: Kubernetes) -> None:
    """Raise `InvalidScript` for a script of a cluster which the settings leave out."""
    if not policy.in_pod:
        return
    if not settings.enabled:
        raise InvalidScript("its runner is kubernetes; set kubernetes.enabled in the settings.")
    if policy.kubernetes.image is None and settings.image is None:
        raise InvalidScript(
            "its runner is kubernetes, and nothing names an image; set kubernetes.image in the "
            "settings, or image in the table kubernetes of its policy."
        )


def _is_script(path: Path, head: FileHead, listing: ScriptsListing) -> bool:
    if starts_like_a_program(head.data) or listing.sidecar(path.name):
        return True
    return head.runnable and path.suffix.lower() not in _DATA


def _stated_metadata(path: Path, head: FileHead, listing: ScriptsListing) -> Metadata:
    block = find_block(head.data)
    inline = Metadata() if block is None else read_block(block, path.name)
    sidecar = listing.sidecar(path.name)
    if sidecar is None:
        return inline
    if inline.states_policy:
        where = f"in [tool.mediator] of {path.name} and in {sidecar}"
        raise InvalidScript(f"its policy is stated twice, {where}; keep one.")
    return _beside(path.with_name(sidecar), listing, inline)


def _beside(path: Path, listing: ScriptsListing, inline: Metadata) -> Metadata:
    try:
        head = read_head(path, listing.resolved)
        refuse_writable_by_all(head)
    except BeingWritten:
        raise
    except InvalidScript as error:
        raise InvalidScript(f"its policy file {path.name}: {error}") from error
    beside = read_sidecar(head.data, path.name)
    return Metadata(
        policy=beside.policy,
        states_policy=True,
        description=beside.description,
        dependencies=inline.dependencies,
        requires_python=inline.requires_python,
    )


def _fallback(path: Path, policy: Policy, listing: ScriptsListing) -> bytes | None:
    """What is answered instead of the script; it must be an answer itself."""
    if policy.fallback is None:
        return None
    name = policy.fallback.stdout_file
    if not policy.kind.interactive:
        raise InvalidScript(
            "its policy has a fallback, which only interactive kinds can use; remove it."
        )
    if name not in listing.states:
        raise InvalidScript(f"its fallback {name} is not in the scripts directory.")
    try:
        data = read_head(path.with_name(name), listing.resolved).data
    except BeingWritten:
        raise
    except InvalidScript as error:
        raise InvalidScript(f"its fallback {name}: {error}") from error
    if problem := problem_of_answer(data, roots=policy.answer):
        raise InvalidScript(f"its fallback {name} is no answer: {problem}.")
    return data
