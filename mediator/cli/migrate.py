"""`mediator migrate`: the schema of the store."""

from __future__ import annotations

from typing import Annotated

import typer

from mediator.cli import options
from mediator.cli.failures import NOT_NOW, Failure
from mediator.errors import StoreUnavailable
from mediator.storage.factory import Schema, migrate

app = typer.Typer(add_completion=False)


@app.command("migrate", epilog="Example: mediator migrate --config /etc/mediator/mediator.yaml")
def migrate_(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if there is work to do.")
    ] = False,
    config: options.Config = None,
) -> None:
    """Bring the store's schema up to date.

    A PostgreSQL database needs it before the first start, and before the
    start of a version that asks for it; several at once do no harm. A SQLite
    file is upgraded by serve itself. A newer schema is refused.
    """
    try:
        found = migrate(options.settings(config).store, only_look=check)
    except StoreUnavailable as error:
        raise Failure(error.detail, exit_code=NOT_NOW) from error
    _tell(found, check=check)


def _tell(found: Schema, *, check: bool) -> None:
    if found.before == found.newest:
        line = f"the schema is {found.newest}, which this mediator needs; nothing to do"
    elif check:
        had = found.before or "missing"
        raise Failure(f"the schema is {had}, and this mediator needs {found.newest}: migrate it")
    else:
        line = f"the schema is {found.newest} now; it was {found.before or 'missing'}"
    print(line)  # noqa: T201 - the command's output
