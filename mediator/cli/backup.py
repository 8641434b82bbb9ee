"""`mediator backup`: a whole copy of the store, while the mediator works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mediator.cli import options
from mediator.cli.failures import Failure
from mediator.storage.backup import back_up

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: mediator backup /backup/mediator.db")
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where it goes; what is there is replaced.")
    ],
    *,
    config: options.Config = None,
) -> None:
    """Copy the store to a file, also while the mediator runs.

    The copy has all that was answered before it began, is checked, and
    appears whole or not at all. Nobody else may read it. It is made on the
    mediator's own machine, by a user who may read the store.
    """
    store = options.settings(config).store.path
    if store is None:
        raise Failure(
            "store.url names a PostgreSQL database, which its own pg_dump copies; see"
            " docs/how-to/back-up.md"
        )
    size = back_up(store, file)
    print(f"{file}: a whole copy of {store}, {size} bytes")  # noqa: T201 - the command's output
