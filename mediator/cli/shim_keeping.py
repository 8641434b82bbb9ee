"""`mediator shim push` and `verify`: the shim's files in the pod, through the Kubernetes API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from mediator.cli import options
from mediator.cli.bundle import PUSH
from mediator.cli.failures import FAILED, NOT_NOW, Failure
from mediator.cli.printing import AsJson, cell, say, show, show_json
from mediator.cli.shim_files import wanted
from mediator.keeper.keeping import Wanted
from mediator.keeper.pods import Selection, selection_of
from mediator.keeper.requests import PodError
from mediator.keeper.rounds import Report, each_pod
from mediator.kubernetes_api import Cluster, api_client
from mediator.settings.shim import Shim

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
