"""Options become the query that the shim would send."""

from __future__ import annotations

import os

import pytest
import typer

from mediator.cli.options import query_of
from mediator.web.request import read_query


def test_the_mediator_reads_what_was_given() -> None:
    not_utf8 = os.fsdecode(b"\xff")
    query = query_of("ADVANCE", ["SCW_A=x=y & z", "SCW_B="], ["one", "two words", "", not_utf8])
    call = read_query(query)
    assert call.event == "ADVANCE"
    assert call.variables == {"SCW_EVENT": "ADVANCE", "SCW_A": "x=y & z", "SCW_B": ""}
    assert call.arguments == ("one", "two words", "", not_utf8)


def test_an_empty_event_is_not_set_at_all() -> None:
    assert query_of("", None, None) == ""


@pytest.mark.parametrize("variable", ["SCW_A", "PATH=/tmp", "=x", ""])
def test_a_variable_that_is_none_is_refused(variable: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not SCW_NAME=VALUE"):
        query_of("CREATE", [variable], None)
