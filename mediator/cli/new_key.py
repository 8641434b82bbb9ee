"""`mediator new-key`: a fresh secret for a key or a token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mediator.settings.secrets import new_secret_file


def new_key(
    file: Annotated[Path, typer.Argument(help="File to make; it must not exist yet.")],
) -> None:
    """Make a secret of 256 random bits that only you can read."""
    new_secret_file(file)
    print(f"{file}: a new secret, readable only by its owner")  # noqa: T201 - the command's output
