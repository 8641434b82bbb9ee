"""The Test button of SecureChange, where a policy wants a script checked instead of run."""

from __future__ import annotations

from aiohttp import web

from mediator.catalog.scripts import Script
from mediator.model.durations import format_duration
from mediator.model.kinds import Kind
from mediator.model.policies import WhenTested
from mediator.web.answers import raw

_WORD = ("test",)
_CALLED_BY_ARGUMENT = frozenset({Kind.CONDITION, Kind.ASSIGNMENT})
"""Kinds that SecureChange tests by the word `test` in place of the ticket id."""
_SMALLEST = {"response": b"<response><condition_result>false</condition_result></response>"}


def is_word(script: Script, arguments: tuple[str, ...]) -> bool:
    """Whether the arguments are the word by which SecureChange tests this kind."""
    return script.policy.kind in _CALLED_BY_ARGUMENT and arguments == _WORD


def is_only_checked(script: Script) -> bool:
    """Whether the policy wants a test answered without running the script."""
    return script.policy.test is WhenTested.CHECK


def checked(script: Script) -> web.Response:
    """The answer to a test of a ready script; also for SecureChange to be content with."""
    policy = script.policy
    sentence = (
        f"{script.name} is ready: kind {policy.kind}, timeout {format_duration(policy.timeout)},"
        f" SHA-256 {script.sha256[:12]}. It was checked, not run (policy key test).\n"
    ).encode()
    if not policy.kind.interactive:
        return raw(sentence, b"", exit_code=0)
    return raw(_answer(script), sentence, exit_code=0)


def _answer(script: Script) -> bytes:
    """Something valid: the fallback, or the smallest document of the kind."""
    if script.fallback is not None:
        return script.fallback
    roots = script.policy.answer
    return _SMALLEST.get(roots[0], f"<{roots[0]}/>".encode()) if roots else b""


def state_of(script: Script) -> str:
    """One line for a person."""
    return f"{script.name}: {'ready' if script.ready else script.problem}"
