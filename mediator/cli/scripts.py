"""`mediator scripts`: what a running mediator can run, and how."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from mediator.cli import options
from mediator.cli.client import connect
from mediator.cli.output import AsJson, cell, fields, say, show, show_json, table
from mediator.cli.target import Target, find_target

app = typer.Typer(add_completion=False)
Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Show this one whole; by default all are listed."),
]


@app.command(epilog="Examples: mediator scripts; mediator scripts notify --json")
def scripts(
    *,
    name: Name = None,
    as_json: AsJson = False,
    url: options.Url = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """List the scripts of a running mediator, or show one."""
    target = find_target(config, url=url, token_file=token_file, ca_file=ca_file)
    document = asyncio.run(_get(target, name))
    if as_json:
        show_json(document)
    elif name is None:
        show(listing(document["items"]))
        for warning in document.get("warnings", ()):
            say(f"warning: {warning}")
    else:
        show(whole(document))


async def _get(target: Target, name: str | None) -> dict[str, Any]:
    path = "/v1/scripts" if name is None else f"/v1/scripts/{quote(name, safe='')}"
    async with connect(target) as mediator:
        return await mediator.get(path)


def listing(items: list[dict[str, Any]]) -> Table:
    """A line for each script."""
    made = table("SCRIPT", "STATE", "KIND", "TIMEOUT", "ATTEMPTS", "ABOUT", whole=("SCRIPT",))
    for item in items:
        policy = item["policy"]
        trigger = policy["kind"] == "trigger"
        made.add_row(
            cell(item["name"]),
            _state(item),
            cell(policy["kind"]),
            cell(policy["timeout"]),
            cell(policy["retry"]["attempts"] if trigger else 1),
            cell(item["problem"] or item["description"] or item["warning"]),
        )
    return made


def whole(item: dict[str, Any]) -> Table:
    """Everything about one script; of its policy the values in force."""
    rows = [
        ("script", cell(item["name"])),
        ("state", _state(item)),
        *((key, cell(item[key])) for key in ("problem", "warning", "description") if item[key]),
        ("dependencies", cell(", ".join(item["dependencies"]) or "-")),
        ("python", cell(item["requires_python"] or "-")),
        *((f"policy.{key}", cell(_value(value))) for key, value in _flat(item["policy"])),
    ]
    return fields(rows)


def _state(item: dict[str, Any]) -> Any:
    return cell("ready", "green") if item["ready"] else cell("not ready", "red")


def _flat(policy: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in policy.items():
        nested = isinstance(value, dict) and value
        rows += _flat(value, f"{above}{key}.") if nested else [(above + key, value)]
    return rows


def _value(value: Any) -> str:
    if value in (None, [], {}):
        return "-"
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return value if isinstance(value, str) else json.dumps(value)
