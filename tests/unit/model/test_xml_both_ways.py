"""A small document read in one piece says the same as when it is read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediator.errors import NotATicket
from mediator.model.policy import ANY, EMPTY
from mediator.model.ticket import Ticket, read_ticket
from mediator.model.xml import SMALL

SAMPLES = sorted((Path(__file__).parents[2] / "samples").rglob("*.xml"))
ROOTS = (ANY, EMPTY)


def read(body: bytes, small: int = SMALL) -> Ticket | str:
    try:
        return read_ticket(body, roots=ROOTS, small=small)
    except NotATicket as error:
        return str(error)


def strictly(body: bytes) -> Ticket | str:
    return read(body, small=0)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample(path: Path) -> None:
    body = path.read_bytes()
    assert read(body) == strictly(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<ticket_info><id>1</id><id>2</id></ticket_info>", id="the first counts"),
        pytest.param(
            b"<t><priority><id>1</id></priority><priority><name>High</name></priority></t>",
            id="the first parent counts",
        ),
        pytest.param(b"<t><subject>a<b>c</b>d<!-- x -->e</subject></t>", id="mixed text"),
        pytest.param(b"<t><subject>&lt;<![CDATA[<x>]]>&#x41;</subject></t>", id="CDATA"),
        pytest.param(b'<x:t xmlns:x="u"><x:id>7</x:id></x:t>', id="namespaces"),
        pytest.param(b"<t>  <!-- nothing --> </t>", id="bare"),
        pytest.param(b"<t> x </t>", id="text in the root"),
        pytest.param(b"<t><subject>" + b" " * 2000 + b"x" * 2000 + b"</subject></t>", id="long"),
        pytest.param(b"<a>" * 101 + b"</a>" * 101, id="one level too deep"),
        pytest.param(b"<a>" * 100 + b"</a>" * 100, id="deep"),
        pytest.param(b"<t>&nbsp;</t>", id="an entity nobody defined"),
        pytest.param("<t><subject>ö</subject></t>".encode("utf-16"), id="UTF-16"),
    ],
)
def test_odd_documents(body: bytes) -> None:
    assert read(body) == strictly(body)


NAMES = st.sampled_from(["id", "subject", "priority", "name", "current_stage", "x"])
TREES = st.recursive(
    st.text(alphabet=" ab\n&lt;", max_size=6).map(
        lambda text: text.replace("&", "").replace("<", "")
    ),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>", NAMES, st.lists(inner, max_size=4)
    ),
    max_leaves=20,
)


@given(TREES)
def test_any_document(inner: str) -> None:
    body = f"<ticket_info>{inner}</ticket_info>".encode()
    assert read(body) == strictly(body)
