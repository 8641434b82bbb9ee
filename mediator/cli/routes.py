"""`mediator routes`: the routing table held against one event."""

from __future__ import annotations

from typing import Any

import typer

from mediator.cli import options
from mediator.cli.failures import Failure
from mediator.cli.output import AsJson, cell, say, show, show_json, table
from mediator.model.policy import EMPTY
from mediator.model.routing import Explanation, Route, explain, scripts_of
from mediator.model.ticket import read_ticket

_PATTERNS = ("event", "workflow", "step", "priority", "subject")

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def routes() -> None:
    """Explain which scripts an event goes to."""


@app.command(
    "explain",
    epilog="Example: mediator routes explain --event ADVANCE --ticket ticket.xml -- 'My workflow'",
)
def explain_routes(
    arguments: options.Arguments = None,
    *,
    ticket: options.TicketFile = None,
    event: options.Event = "CREATE",
    as_json: AsJson = False,
    config: options.Config = None,
) -> None:
    """Say which rows of the routing table match an event, and why the others do not.

    The rows are `routes` of the settings. The ticket and the arguments are what
    SecureChange would hand over; without --ticket it has no fields.
    """
    table_ = options.settings(config).routes
    if not table_:
        raise Failure("the settings have no routes: every event must name its script.")
    found = explain(
        (row.route for row in table_),
        event=event,
        arguments=arguments or (),
        ticket=read_ticket(options.read_ticket_file(ticket), roots=("ticket_info", EMPTY)),
    )
    if as_json:
        show_json(_document(found))
    else:
        _show(found)


def _document(found: list[Explanation]) -> dict[str, Any]:
    rows = [
        {
            "row": number,
            "patterns": _patterns(explanation.route),
            "scripts": list(explanation.route.scripts),
            "matches": explanation.matches,
            "reason": explanation.mismatch,
        }
        for number, explanation in enumerate(found, 1)
    ]
    return {"rows": rows, "scripts": list(scripts_of(found))}


def _show(found: list[Explanation]) -> None:
    shown = table("row", "patterns", "scripts", "result", whole=("row",))
    for number, explanation in enumerate(found, 1):
        patterns = ", ".join(f"{k} {v}" for k, v in _patterns(explanation.route).items())
        shown.add_row(
            str(number),
            cell(patterns or "any event"),
            cell(", ".join(explanation.route.scripts)),
            cell(explanation.mismatch or "matches"),
        )
    show(shown)
    scripts = scripts_of(found)
    say(f"it goes to {', '.join(scripts)}" if scripts else "it goes to no script")


def _patterns(route: Route) -> dict[str, str]:
    stated = {name: getattr(route, name) for name in _PATTERNS}
    return {
        name: value if isinstance(value, str) else " or ".join(value)
        for name, value in stated.items()
        if value
    }
