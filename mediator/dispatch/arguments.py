"""The arguments of a script, where the policy wants them split.

SecureChange probably hands its arguments field over as one argument, blanks and all
(docs/securechange.md). Scripts written for that split it themselves; others are helped here.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from mediator.errors import BadRequest


class UnsplittableError(BadRequest):
    """The arguments cannot be split; the message says why, for a person."""


def split(arguments: Sequence[str]) -> tuple[str, ...]:
    """All arguments joined by blanks and split again as a shell does, without expanding anything.

    Raises `UnsplittableError`.
    """
    try:
        return tuple(shlex.split(" ".join(arguments)))
    except ValueError as error:
        reason = str(error).rstrip(".").lower()
        raise UnsplittableError(
            f"its arguments cannot be split as split_arguments wants it: {reason}"
        ) from error
