from __future__ import annotations

import pytest

from mediator.model.routing import Route, explain, scripts_of
from mediator.model.ticket import Ticket

TICKET = Ticket(id="1", subject="[URGENT] open 443", priority="High", step="Business approval")


def explained(*routes: Route, event: str = "ADVANCE", arguments: tuple[str, ...] = ()) -> list[str]:
    found = explain(routes, event=event, arguments=arguments, ticket=TICKET)
    return [explanation.mismatch for explanation in found]


@pytest.mark.parametrize(
    ("route", "arguments"),
    [
        pytest.param(Route(scripts=("a",)), (), id="a row without patterns"),
        pytest.param(Route(scripts=("a",), event=("CREATE", "ADV*")), (), id="one of two events"),
        pytest.param(Route(scripts=("a",), workflow="Fire*"), ("Firewall",), id="an argument"),
        pytest.param(
            Route(scripts=("a",), workflow="Firewall Change"),
            ("Firewall", "Change"),
            id="arguments joined",
        ),
        pytest.param(
            Route(scripts=("a",), workflow="Firewall Change"),
            ("Firewall Change",),
            id="one argument with a blank",
        ),
        pytest.param(Route(scripts=("a",), step="Business*"), (), id="the step"),
        pytest.param(Route(scripts=("a",), priority="High"), (), id="the priority"),
        pytest.param(Route(scripts=("a",), subject="*URGENT*"), (), id="the subject"),
    ],
)
def test_a_row_matches_when_every_pattern_does(route: Route, arguments: tuple[str, ...]) -> None:
    assert explained(route, arguments=arguments) == [""]


@pytest.mark.parametrize(
    ("route", "mismatch"),
    [
        pytest.param(
            Route(scripts=("a",), event=("CREATE", "CLOSE")),
            "event 'ADVANCE' is not CREATE or CLOSE",
            id="the event",
        ),
        pytest.param(
            Route(scripts=("a",), workflow="Firewall"), "no argument is 'Firewall'", id="workflow"
        ),
        pytest.param(
            Route(scripts=("a",), step="business*"),
            "step 'Business approval' is not 'business*'",
            id="capital letters count",
        ),
        pytest.param(
            Route(scripts=("a",), step="Business*", priority="Low"),
            "priority 'High' is not 'Low'",
            id="the second of two patterns",
        ),
    ],
)
def test_a_row_that_does_not_match_says_why(route: Route, mismatch: str) -> None:
    assert explained(route) == [mismatch]


def test_a_field_the_ticket_lacks_matches_only_what_matches_nothing() -> None:
    bare = Ticket()
    routes = (Route(scripts=("a",), step="*"), Route(scripts=("b",), step="?*"))
    found = explain(routes, event="CREATE", arguments=(), ticket=bare)
    assert [explanation.matches for explanation in found] == [True, False]


def test_scripts_keep_the_order_of_the_table_and_come_once() -> None:
    routes = (
        Route(scripts=("b", "a")),
        Route(scripts=("x",), event=("CLOSE",)),
        Route(scripts=("a", "c")),
    )
    found = explain(routes, event="CREATE", arguments=(), ticket=TICKET)
    assert scripts_of(found) == ("b", "a", "c")
