"""What an interactive script must print, and whether it did.

SecureChange gives no reason when it cannot use an answer; here the script's author is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from mediator.model.xml import Unreadable, read_document

_CONDITION = ("response", ("condition_result",))
"""SecureChange documents `true` and `false` there."""


def problem_of_answer(stdout: bytes, *, roots: Sequence[str]) -> str:
    """Why `stdout` is no answer whose root element is one of `roots`; empty when it is one.

    No roots: anything is an answer. The reason is a part of a sentence and never quotes the
    script's output, apart from the name of its root element.
    """
    if not roots:
        return ""
    wanted = " or ".join(f"<{root}>" for root in roots)
    if not stdout.strip():
        return f"it printed nothing, and {wanted} was expected"
    name, path = _CONDITION
    try:
        document = read_document(stdout.lstrip(), wanted=frozenset({path}), accept=lambda _: None)
    except Unreadable as error:
        return f"what it printed is not {wanted}: {error}"
    if document.root not in roots:
        return f"it printed <{document.root[:60]}>, and {wanted} was expected"
    if document.root == name and document.texts.get(path) not in {"true", "false"}:
        return f"its <{name}> has no <{path[0]}> that is true or false"
    return ""
