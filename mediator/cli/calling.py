"""A call as SecureChange would make it: event, variables, arguments and ticket from options."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import typer

from mediator.cli.failures import FAILED, Failure


def query_of(event: str, variables: Sequence[str] | None, arguments: Sequence[str] | None) -> str:
    """The query string of the hand-over, as the shim makes it.

    What is in the variables is left to whoever reads the query. Raises `typer.BadParameter` for a
    variable that is not NAME=VALUE.
    """
    pairs = [("SCW_EVENT", event)] if event else []
    for variable in variables or ():
        name, sign, value = variable.partition("=")
        if not sign or not name.startswith("SCW_"):
            raise typer.BadParameter(f"{variable} is not SCW_NAME=VALUE", param_hint="--var")
        pairs.append((name, value))
    pairs += [("arg", argument) for argument in arguments or ()]
    # Arguments that are not UTF-8 are surrogates here, and bytes again on the way.
    return urlencode(pairs, quote_via=quote, errors="surrogateescape")


def read_ticket_file(name: str | None) -> bytes:
    """The bytes of a file, of standard input for `-`, or none at all for None."""
    if name is None:
        return b""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        message = f"--ticket: {name} cannot be read ({error.strerror})."
        raise Failure(message, exit_code=FAILED) from error


def write_streams(stdout: bytes, stderr: bytes) -> None:
    """Pass on what a script wrote, byte for byte."""
    for stream, content in ((sys.stdout, stdout), (sys.stderr, stderr)):
        stream.flush()
        stream.buffer.write(content)
        stream.flush()
