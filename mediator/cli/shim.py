"""`mediator shim`: what goes into the SecureChange pod."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mediator.catalog.scripts import Script
from mediator.cli import options
from mediator.cli.bundle import (
    EVENTS,
    PUSH,
    WHERE,
    BundleFile,
    write_bundle,
)
from mediator.cli.printing import AsJson, cell, say, show, show_json, table
from mediator.cli.send import KeyFile, KeyId
from mediator.cli.shim_files import bundled, only_here, shim_settings
from mediator.cli.shim_keeping import push, verify
from mediator.cli.shim_watching import watch
from mediator.model.kinds import Kind

app = typer.Typer(add_completion=False, no_args_is_help=True)
app.command(epilog="Example: mediator shim push --config mediator.yaml")(push)
app.command(epilog="Example: mediator shim verify || mediator shim push")(verify)
app.command(epilog="Example: mediator shim watch --metrics-port 9090")(watch)


@app.callback()
def shim() -> None:
    """Make the files that go into the SecureChange pod, and keep them there."""


@app.command(epilog="Example: mediator shim bundle ./pod --url https://mediator.example:8443")
def bundle(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write them; older ones are replaced.")
    ],
    *,
    url: options.Url = None,
    key_id: KeyId = None,
    key_file: KeyFile = None,
    ca_file: options.CaFile = None,
    as_json: AsJson = False,
    config: options.Config = None,
) -> None:
    """Write the shim, its settings, its key, and a wrapper for every script.

    Then say how to push them into the SecureChange pod and which paths to type
    into SecureChange. --url is where the pod reaches the mediator; several,
    separated by spaces, are tried in turn. With routes in the settings there is
    also a wrapper that leaves the choice of scripts to them.
    """
    made = bundled(
        config,
        shim_settings(config, url, key_id=key_id, key_file=key_file, ca_file=ca_file),
    )
    files = made.files
    write_bundle(directory, files)
    if as_json:
        show_json(_document(directory, files))
        return
    _explain(directory, files)
    _warn(made.left_out, here=only_here(options.settings(config), url))


def _document(directory: Path, files: Sequence[BundleFile]) -> dict[str, Any]:
    return {
        "files": [file.name for file in files],
        "push": [_push(directory, file) for file in files],
        "paths": {file.script.name: file.path_in_pod for file in files if file.script},
    }


def _explain(directory: Path, files: Sequence[BundleFile]) -> None:
    show(Text("Push these files on the TOS host:\n"))
    show(*(cell(f"  {_push(directory, file)}") for file in files))
    paths = table("script", "kind", "path to type into SecureChange", "where", whole=("script",))
    for file in files:
        if file.script is not None:
            kind = file.script.policy.kind
            paths.add_row(cell(file.script.name), kind, cell(file.path_in_pod), WHERE[kind])
        elif file.name == EVENTS:
            paths.add_row("(by routes)", Kind.TRIGGER, file.path_in_pod, WHERE[Kind.TRIGGER])
    show(Text("\nThen type these paths:\n"), paths)


def _push(directory: Path, file: BundleFile) -> str:
    return f"{PUSH} {shlex.quote(str(directory / file.name))}"


def _warn(left_out: Iterable[Script], *, here: bool) -> None:
    for script in left_out:
        say(f"{script.name} is left out, since it is not ready: {script.problem}")
    if here:
        say("the mediator listens on this machine only: a pod cannot reach it. See --url.")
