"""`mediator new-key`: a fresh secret for a key or a token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mediator.cli.failures import Failure
from mediator.errors import SettingsError
from mediator.settings.secrets import new_secret_file

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: mediator new-key securechange.key")
def new_key(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to make; it must not exist yet.")
    ],
) -> None:
    """Make the secret of a key or a token.

    It is 256 random bits as one line of text, in a new file that only you can
    read. The settings name the file as secret_file; the shim needs a copy.
    """
    try:
        new_secret_file(file)
    except SettingsError as error:  # no settings are wrong: only this file
        raise Failure(str(error)) from error
    print(f"{file}: a new secret, readable only by its owner")  # noqa: T201 - the command's output
