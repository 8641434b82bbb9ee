"""`mediator check`: says whether `serve` would start and every script run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mediator.cli.check_kubernetes import cluster_findings
from mediator.cli.failures import FAILED, SETTINGS
from mediator.cli.findings import Finding, Grade, findings, findings_of, intention
from mediator.cli.options import Config, settings, settings_file
from mediator.cli.output import AsJson, cell, show, show_json, table
from mediator.settings.schema import Settings

_STYLES = {Grade.OK: "green", Grade.WARNING: "yellow"}
app = typer.Typer(add_completion=False)
Scripts = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SCRIPT]...", help="Only these; by default everything."),
]


Kubernetes = Annotated[
    bool,
    typer.Option(
        "--kubernetes",
        help="Ask the clusters of the settings too: what they are, and what they allow.",
    ),
]


@app.command(epilog="Example: mediator check --config mediator.yaml && mediator serve")
def check(
    scripts: Scripts = None,
    *,
    kubernetes: Kubernetes = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check the settings, the secrets, the directories and the scripts.

    With names, only these scripts. Of a Python or shell script the syntax is
    checked too, and of Python whether what it imports is there: by its own
    interpreter, which runs nothing of it.

    Everything that is wrong is said in one run, unless the settings cannot be
    read. Exits with 0 when all is well or there are only warnings, with 1 when
    a script is not ready or broken or a cluster does not do what is asked of
    it, with 78 when serve would not start. Changes nothing.
    """
    loaded = settings(config)
    found = list(findings_of(loaded, scripts) if scripts else findings(loaded))
    if kubernetes:
        found += _of_clusters(loaded)
    code = exit_code(found)
    conclusion = "" if scripts else _conclusion(found, intention(loaded))
    if as_json:
        show_json(_document(found, code, conclusion, settings_file(config)))
    else:
        show(listing(found), *((cell(""), cell(conclusion)) if conclusion else ()))
    raise typer.Exit(code)


def _of_clusters(loaded: Settings) -> list[Finding]:
    return asyncio.run(cluster_findings(loaded))


def exit_code(found: Sequence[Finding]) -> int:
    """The worst of what was found, as an exit code."""
    grades = {finding.grade for finding in found}
    if Grade.ERROR in grades:
        return SETTINGS
    return 0 if grades <= {Grade.OK, Grade.WARNING} else FAILED


def listing(found: Sequence[Finding]) -> Table:
    """A line for each finding."""
    made = table("WHAT", "STATE", "DETAIL", whole=("STATE",))
    for finding in found:
        style = _STYLES.get(finding.grade, "bold red")
        made.add_row(cell(finding.what), cell(finding.grade, style), cell(finding.detail))
    return made


def _conclusion(found: Sequence[Finding], would: str) -> str:
    grades = {finding.grade for finding in found}
    if Grade.ERROR in grades:
        return "mediator serve would not start: put the errors above right first."
    if Grade.NOT_READY in grades:
        would += " Scripts that are not ready are refused with 409 until they are put right."
    if Grade.BROKEN in grades:
        would += " Scripts that are broken fail at every attempt."
    return would


def _document(
    found: Sequence[Finding], code: int, conclusion: str, file: Path | None
) -> dict[str, object]:
    return {
        "ok": code == 0,
        "settings": None if file is None else str(file),
        "items": [
            {"what": finding.what, "state": finding.grade, "detail": finding.detail}
            for finding in found
        ],
        "next": None,
        "conclusion": conclusion,
    }
