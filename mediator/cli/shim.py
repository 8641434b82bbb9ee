"""`mediator shim`: `bundle` makes the files of the SecureChange pod, the others keep them there.

`push` puts them in, `verify` compares them, `watch` does both for as long as it runs.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mediator.catalog.script import Script
from mediator.cli import options
from mediator.cli.failures import FAILED, NOT_NOW, Failure
from mediator.cli.logs import log_as_asked
from mediator.cli.output import AsJson, cell, say, show, show_json, show_line, table
from mediator.cli.send import KeyFile, KeyId
from mediator.cli.shim_bundle import (
    EVENTS,
    BundleFile,
    bundle_of,
    desired_files,
    only_here,
    shim_settings,
    write_bundle,
)
from mediator.clock import SystemClock
from mediator.keeper.page import served
from mediator.keeper.pods import Selection
from mediator.keeper.sync import DesiredFiles, Report, each_pod
from mediator.keeper.watch import ShimWatch
from mediator.kube.client import Cluster, KubernetesError, connect
from mediator.metrics.keeper import KeeperMetrics
from mediator.model.policy import Kind
from mediator.settings.schema import Settings, Shim

PUSH = "sudo tos scripts sc push --overwrite"
"""Tufin's way to put a file there, on the TOS host."""
WHERE: Mapping[Kind, str] = {
    Kind.TRIGGER: "Settings > SecureChange API: path, arguments, workflow and events",
    Kind.PRE_ASSIGNMENT: "properties of the workflow step: pre-assignment script",
    Kind.CONDITION: "properties of the workflow step: skip or assignment condition",
    Kind.ASSIGNMENT: "properties of the workflow step: dynamic assignment",
    Kind.RISK_ANALYSIS: "properties of the workflow: risk analysis",
    Kind.VALIDATION: "SecureApp settings: ticket validation",
}
OFFICIAL = (
    "Tufin's own way, which survives restarts of the pod and needs no access to its cluster:",
    f"  mediator shim bundle DIR && {PUSH} DIR/FILE for each file, on the TOS host",
)
_STOPPING = (signal.SIGINT, signal.SIGTERM)
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        metavar="PORT",
        help="Serve /metrics, /livez and /readyz there, on http.host; 0 takes any free port.",
        show_default=False,
    ),
]

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def shim() -> None:
    """Make the files that go into the SecureChange pod, and keep them there."""


@app.command(epilog="Example: mediator shim push --config mediator.yaml")
def push(*, as_json: AsJson = False, config: options.Config = None) -> None:
    """Put the shim's files into SecureChange's pods, where they are missing or differ.

    Through the Kubernetes API, by the section shim of the settings. Files are
    replaced as a whole. Then the shim tries there whether it reaches the
    mediator. Exits with 0 when all pods have all files and the mediator is
    reachable from them, else with 75.
    """
    if not as_json:
        show(*map(cell, OFFICIAL), cell(""))
    _end(_reports(config, write=True, as_json=as_json), as_json=as_json)


@app.command(epilog="Example: mediator shim verify || mediator shim push")
def verify(*, as_json: AsJson = False, config: options.Config = None) -> None:
    """Compare the shim's files in SecureChange's pods with what belongs there.

    A line for each file that differs. Nothing is written. Exits with 0 when
    none differs and the mediator is reachable from the pods, with 1 when a file
    differs, with 75 when a pod cannot be looked at or does not reach the mediator.
    """
    _end(_reports(config, write=False, as_json=as_json), as_json=as_json)


def _reports(config: Path | None, *, write: bool, as_json: bool) -> list[Report]:
    shim = options.settings(config).shim
    selection, files = selected(shim), desired_files(config)
    try:
        return asyncio.run(_round(shim, selection, files, write=write, quiet=as_json))
    except KubernetesError as error:
        raise Failure(f"{error}.", exit_code=NOT_NOW) from error


async def _round(
    shim: Shim, selection: Selection, files: DesiredFiles, *, write: bool, quiet: bool
) -> list[Report]:
    reports = []
    async with connect(Cluster.of(shim)) as client:
        async for report in each_pod(client, selection, files, write=write):
            reports.append(report)
            if not quiet:
                show(*map(cell, lines(report)))
    return reports


def selected(shim: Shim) -> Selection:
    """SecureChange's pods. Raises `SettingsError` when the settings do not say which."""
    return Selection(selector=shim.selector, container=shim.container)


def _end(reports: list[Report], *, as_json: bool) -> None:
    code = exit_code(reports)
    if as_json:
        items = [document(report) for report in reports]
        show_json({"ok": code == 0, "items": items, "next": None})
    elif code == NOT_NOW:
        say("not every pod is well: see the lines above.")
    raise typer.Exit(code)


def exit_code(reports: Sequence[Report]) -> int:
    """The worst of all pods: what differs is told before what is not known."""
    if any(report.drifted for report in reports):
        return FAILED
    well = all(
        not report.problem and report.self_test is not None and report.self_test.ok
        for report in reports
    )
    return 0 if well else NOT_NOW


def lines(report: Report) -> Iterator[str]:
    """What a person is told of a pod."""
    pod = report.pod.name
    for one in report.differences:
        done = ": written" if report.written else ""
        yield f"{pod}: {one.file.name} {one.words}{done}"
    if report.problem:
        yield f"{pod}: {report.problem}"
    elif not report.differences:
        yield f"{pod}: all files are as they should be"
    if report.self_test is not None:
        yield from (f"{pod}: self-test: {line}" for line in report.self_test.lines)
        if not report.self_test.ok:
            yield f"{pod}: the self-test failed with exit code {report.self_test.code}"


def document(report: Report) -> dict[str, Any]:
    """The same for a program."""
    tried = report.self_test
    return {
        "pod": report.pod.name,
        "container": report.pod.place.container,
        "files": [
            {"name": one.file.name, "drift": one.drift, "written": report.written}
            for one in report.differences
        ],
        "problem": report.problem or None,
        "self_test": None if tried is None else {"exit_code": tried.code, "lines": tried.lines},
    }


@app.command(epilog="Example: mediator shim watch --metrics-port 9090")
def watch(*, metrics_port: MetricsPort = None, config: options.Config = None) -> None:
    """Keep the shim's files in SecureChange's pods, until SIGTERM or Ctrl-C.

    Puts them back within seconds when a pod or its container has started again,
    and looks every shim.check_every whether somebody changed them. The settings
    and the scripts are read anew each time. Logs to stderr as serve does.
    """
    loaded = options.settings(config)
    log_as_asked(loaded)
    selection = selected(loaded.shim)
    desired_files(config)  # what is wrong with them is said now
    asyncio.run(_watch(loaded, selection, desired=lambda: desired_files(config), port=metrics_port))


async def _watch(
    settings: Settings,
    selection: Selection,
    *,
    desired: Callable[[], DesiredFiles],
    port: int | None,
) -> None:
    metrics, stop = KeeperMetrics(), _on_signals()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(Cluster.of(settings.shim)))
        watch = ShimWatch(
            client,
            selection,
            desired=desired,
            check_every=settings.shim.check_every.total_seconds(),
            metrics=metrics,
            clock=SystemClock(),
        )
        ready: dict[str, object] = {"pods": selection.selector}
        if port is not None:
            host = settings.http.host
            number = await stack.enter_async_context(served(metrics, host=host, port=port))
            ready["metrics_url"] = f"http://{host}:{number}"
        _announce(ready)
        await _until(stop, watch)


async def _until(stop: asyncio.Event, watch: ShimWatch) -> None:
    """Watch until somebody asks for the end; a watch that dies ends the command."""
    running = asyncio.create_task(watch.run(), name="watch pods")
    asked = asyncio.create_task(stop.wait(), name="wait for a signal")
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (running, asked):
            task.cancel()
        await asyncio.gather(running, asked, return_exceptions=True)


def _announce(fields: Mapping[str, object]) -> None:
    """The ready line, for whoever started it: one JSON object where no terminal is."""
    if not sys.stdout.isatty():
        show_line({"event": "ready", **fields})


def _on_signals() -> asyncio.Event:
    """Set when the end is asked for."""
    stop = asyncio.Event()
    for number in _STOPPING:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


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
    made = bundle_of(
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
