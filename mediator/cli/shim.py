"""`mediator shim`: what goes into the SecureChange pod."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer
from rich.text import Text

import mediator
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script import Script
from mediator.cli import options
from mediator.cli.failures import FAILED, NOT_NOW, Failure
from mediator.cli.output import AsJson, cell, say, show, show_json, show_line, table
from mediator.cli.send import KeyFile, KeyId, find_key
from mediator.cli.serve import log_as_asked
from mediator.cli.target import find_url
from mediator.clock import SystemClock
from mediator.errors import SettingsError
from mediator.keeper.page import served
from mediator.keeper.pods import Selection, selection_of
from mediator.keeper.protocol import PodError, PodFile
from mediator.keeper.sync import Report, Wanted, each_pod
from mediator.keeper.watch import Watch, Watching
from mediator.kube.client import Cluster, api_client
from mediator.metrics.keeper import KeeperMetrics
from mediator.model.policy import Kind
from mediator.settings.schema import Settings, Shim

# The files that go into the SecureChange pod: the shim, its settings, a wrapper for every script.

POD_DIRECTORY = "/opt/tufin/data/securechange/scripts"
"""The only directory whose scripts SecureChange accepts (docs/securechange.md)."""
PUSH = "sudo tos scripts sc push --overwrite"
"""Tufin's way to put a file there, on the TOS host."""
SHIM = "securechange-shim"
EVENTS = "securechange-events.sh"

WHERE: Mapping[Kind, str] = {
    Kind.TRIGGER: "Settings > SecureChange API: path, arguments, workflow and events",
    Kind.PRE_ASSIGNMENT: "properties of the workflow step: pre-assignment script",
    Kind.CONDITION: "properties of the workflow step: skip or assignment condition",
    Kind.ASSIGNMENT: "properties of the workflow step: dynamic assignment",
    Kind.RISK_ANALYSIS: "properties of the workflow: risk analysis",
    Kind.VALIDATION: "SecureApp settings: ticket validation",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleFile:
    """One file of the bundle."""

    name: str
    data: bytes = field(repr=False)
    mode: int = 0o755
    script: Script | None = None
    """the script that a wrapper is for"""

    @property
    def path_in_pod(self) -> str:
        """What to type into SecureChange."""
        return f"{POD_DIRECTORY}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShimSettings:
    """What the shim must know."""

    urls: tuple[str, ...]
    key_id: str
    secret: str = field(repr=False)
    ca_file: Path | None = None
    """certificates to trust for https://, copied into the bundle"""
    more: tuple[tuple[str, str], ...] = ()
    """further settings of the shim, and their values"""


def make_bundle(
    settings: ShimSettings, scripts: Iterable[Script], *, events: bool
) -> list[BundleFile]:
    """All files, the shim first; `events`: also a wrapper that leaves the choice to the routes."""
    ready = list(scripts)
    files = [
        BundleFile(name=SHIM, data=_shim()),
        BundleFile(name=f"{SHIM}.conf", data=_configuration(settings), mode=0o644),
        BundleFile(name=f"{SHIM}.key", data=f"{settings.secret}\n".encode(), mode=0o600),
    ]
    if settings.ca_file is not None:
        files.append(BundleFile(name=f"{SHIM}.pem", data=_read(settings.ca_file), mode=0o644))
    if events:
        files.append(BundleFile(name=EVENTS, data=_wrapper("--events", what="every event")))
    stems = Counter(PurePath(script.name).stem for script in ready)
    for script in ready:
        stem = PurePath(script.name).stem
        name = f"{stem if stems[stem] == 1 else script.name}.sh"
        files.append(
            BundleFile(
                name=name, data=_wrapper("--script", script.name, what=script.name), script=script
            )
        )
    return files


def write_bundle(directory: Path, files: Iterable[BundleFile]) -> None:
    """Write the files, over older ones. Raises `Failure` when the directory cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = directory / file.name
            path.unlink(missing_ok=True)
            path.touch(mode=file.mode, exist_ok=False)  # a secret is never readable, not even now
            path.write_bytes(file.data)
            path.chmod(file.mode)
    except OSError as error:
        raise Failure(f"{directory} cannot be written ({error.strerror}).") from error


def _configuration(settings: ShimSettings) -> bytes:
    lines = [
        "# Read by securechange-shim beside this file.",
        f"MEDIATOR_URL={' '.join(settings.urls)}",
        f"MEDIATOR_KEY_ID={settings.key_id}",
        f"MEDIATOR_KEY_FILE={SHIM}.key",
    ]
    if settings.ca_file is not None:
        lines.append(f"MEDIATOR_CA_FILE={SHIM}.pem")
    lines += (f"{name}={value}" for name, value in settings.more)
    return "".join(f"{line}\n" for line in lines).encode()


def _wrapper(*options: str, what: str) -> bytes:
    """Quoted for bash; a catalog's names are printable, but may hold anything else."""
    quoted = shlex.join(options)
    return (
        "#!/bin/bash\n"
        f"# Hands {what} to the mediator, by the shim beside this file.\n"
        f'exec "$BASH" "${{0%/*}}/{SHIM}" {quoted} "$@"\n'
    ).encode()


def _shim() -> bytes:
    """The shim, from the installed package or from the checkout."""
    package = Path(mediator.__file__).parent
    for path in (package / "shim" / SHIM, package.parent / "bash_shim" / SHIM):
        if path.is_file():
            return _read(path)
    raise SettingsError(f"the shim is missing from this installation at {package / 'shim'}.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).") from error


# `mediator shim push` and `verify`: the shim's files in the pod, through the Kubernetes API.

OFFICIAL = (
    "Tufin's own way, which survives restarts of the pod and needs no access to its cluster:",
    f"  mediator shim bundle DIR && {PUSH} DIR/FILE for each file, on the TOS host",
)


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


def verify(*, as_json: AsJson = False, config: options.Config = None) -> None:
    """Compare the shim's files in SecureChange's pods with what belongs there.

    A line for each file that differs. Nothing is written. Exits with 0 when
    none differs and the mediator is reachable from the pods, with 1 when a file
    differs, with 75 when a pod cannot be looked at or does not reach the mediator.
    """
    _end(_reports(config, write=False, as_json=as_json), as_json=as_json)


def cluster_of(shim: Shim) -> Cluster:
    """SecureChange's cluster."""
    return Cluster(kubeconfig=shim.kubeconfig, context=shim.context, namespace=shim.namespace)


def selected(shim: Shim) -> Selection:
    """SecureChange's pods. Raises `SettingsError` when the settings do not say which."""
    return selection_of(namespace=shim.namespace, selector=shim.selector, container=shim.container)


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


def _reports(config: Path | None, *, write: bool, as_json: bool) -> list[Report]:
    shim = options.settings(config).shim
    selection, files = selected(shim), wanted(config)
    try:
        return asyncio.run(_round(cluster_of(shim), selection, files, write=write, quiet=as_json))
    except PodError as error:
        raise Failure(f"{error}.", exit_code=NOT_NOW) from error


async def _round(
    cluster: Cluster, selection: Selection, files: Wanted, *, write: bool, quiet: bool
) -> list[Report]:
    reports = []
    async with api_client(cluster) as api:
        async for report in each_pod(api, selection, files, write=write):
            reports.append(report)
            if not quiet:
                show(*map(cell, lines(report)))
    return reports


def _end(reports: list[Report], *, as_json: bool) -> None:
    code = exit_code(reports)
    if as_json:
        items = [document(report) for report in reports]
        show_json({"ok": code == 0, "items": items, "next": None})
    elif code == NOT_NOW:
        say("not every pod is well: see the lines above.")
    raise typer.Exit(code)


# `mediator shim watch`: keeps the shim in SecureChange's pods.

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


def watch(*, metrics_port: MetricsPort = None, config: options.Config = None) -> None:
    """Keep the shim's files in SecureChange's pods, until SIGTERM or Ctrl-C.

    Puts them back within seconds when a pod or its container has started again,
    and looks every shim.check_every whether somebody changed them. The settings
    and the scripts are read anew each time. Logs to stderr as serve does.
    """
    loaded = options.settings(config)
    log_as_asked(loaded)
    watching = Watching(
        selection=selected(loaded.shim),
        wanted=lambda: wanted(config),
        check_every=loaded.shim.check_every.total_seconds(),
    )
    wanted(config)  # what is wrong with them is said now
    asyncio.run(_watch(cluster_of(loaded.shim), watching, host=loaded.http.host, port=metrics_port))


async def _watch(cluster: Cluster, watching: Watching, *, host: str, port: int | None) -> None:
    counted, stop = KeeperMetrics(), _on_signals()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_client(cluster))
        watch = Watch(api=api, settings=watching, counted=counted, clock=SystemClock())
        ready: dict[str, object] = {"pods": watching.selection.selector}
        if port is not None:
            number = await stack.enter_async_context(served(counted, host=host, port=port))
            ready["metrics_url"] = f"http://{host}:{number}"
        _announce(ready)
        await _until(stop, watch)


async def _until(stop: asyncio.Event, watch: Watch) -> None:
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


# What belongs into SecureChange's pod by the settings, for the bundle and for the keeper.

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundled:
    """The files, and the scripts that are left out because they are not ready."""

    files: tuple[BundleFile, ...]
    left_out: tuple[Script, ...]


def bundled(config: Path | None, shim: ShimSettings) -> Bundled:
    """The files for the scripts that there are now. Raises `SettingsError`."""
    loaded = options.settings(config)
    catalog = ScriptsDirectory(settings=loaded).load()
    scripts = list(_chosen(catalog.scripts.values(), loaded.shim))
    return Bundled(
        files=tuple(
            make_bundle(
                shim, [script for script in scripts if script.ready], events=bool(loaded.routes)
            )
        ),
        left_out=tuple(script for script in scripts if not script.ready),
    )


def shim_settings(
    config: Path | None,
    url: str | None,
    *,
    key_id: str | None = None,
    key_file: Path | None = None,
    ca_file: Path | None = None,
) -> ShimSettings:
    """What the options say, else the settings. Raises `SettingsError` or `Failure`."""
    shim = options.settings(config).shim
    key = find_key(config, "", key_id=key_id or shim.key, key_file=key_file)
    named = url or shim.url
    first = find_url(config, named)
    return ShimSettings(
        urls=tuple((named or first).split()),
        key_id=key.id,
        secret=key.secret.decode(),
        ca_file=ca_file or shim.ca_file,
        more=tuple(_more(shim)),
    )


def wanted(config: Path | None) -> Wanted:
    """What the keeper puts into each pod. Raises `SettingsError`."""
    loaded = options.settings(config)
    if only_here(loaded, None):
        raise SettingsError(
            "shim.url is not set, and the mediator listens on this machine only: say there where"
            " the pod reaches it, such as http://mediator.example:8080."
        )
    files = bundled(config, shim_settings(config, None)).files
    return Wanted(
        directory=loaded.shim.directory,
        files=tuple(PodFile(name=file.name, data=file.data, mode=file.mode) for file in files),
        shim=SHIM,
        seconds=loaded.shim.exec_timeout.total_seconds(),
    )


def only_here(settings: Settings, url: str | None) -> bool:
    """Whether the pod is given an address that leads to itself."""
    return url is None and settings.shim.url is None and settings.http.host in _HERE


def _chosen(scripts: Iterable[Script], shim: Shim) -> Iterable[Script]:
    found = list(scripts)
    if shim.scripts is None:
        return found
    unknown = sorted(shim.scripts - {script.name for script in found})
    if unknown:
        raise SettingsError(f"shim.scripts names {', '.join(unknown)}, which there is not.")
    return [script for script in found if script.name in shim.scripts]


def _more(shim: Shim) -> Iterable[tuple[str, str]]:
    if shim.connect_timeout is not None:
        yield "MEDIATOR_CONNECT_TIMEOUT", str(round(shim.connect_timeout.total_seconds()))
    if shim.timeout is not None:
        yield "MEDIATOR_TIMEOUT", str(round(shim.timeout.total_seconds()))
    if shim.spool_directory is not None:
        yield "MEDIATOR_SPOOL_DIR", shim.spool_directory
