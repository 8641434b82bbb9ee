from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mediator.errors import NotATicket
from mediator.model.policy import ANY, EMPTY, ROOTS, Kind
from mediator.model.ticket import Ticket, read_ticket

SAMPLES = Path(__file__).parents[2] / "samples"
TICKET = ("ticket_info",)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def said(ticket: Ticket) -> dict[str, object]:
    """Only what the ticket says."""
    return {name: value for name, value in asdict(ticket).items() if value is not None}


def test_a_ticket_says_what_an_operator_wants_to_see() -> None:
    assert read_ticket(sample("trigger_redo.xml"), roots=TICKET) == Ticket(
        root="ticket_info",
        bare=False,
        id="4711",
        subject="Open HTTPS from web tier to app tier",
        priority="Normal",
        step="Technical design",
        step_id="8803",
        requester="a.meyer",
        requester_name="Anna Meyer",
        first_step="Open request",
        comment="Please add the missing port range",
        created=datetime(2025, 1, 15, 9, 10, 10, 123000, UTC),
        updated=datetime(2025, 1, 15, 9, 16, 28, 456000, UTC),
    )


@pytest.mark.parametrize(
    ("name", "id_", "step", "comment"),
    [
        ("trigger_create.xml", "4711", "Open request", None),
        ("trigger_advance.xml", "4711", "Business approval", None),
        ("trigger_reject.xml", "4711", "Business approval", "Duplicate of 4699 & not approved"),
        ("trigger_reject_comment_xsitype.xml", "4711", "Business approval", "Duplicate of 4699"),
        ("trigger_cancel.xml", "4711", "Technical design", "No longer needed"),
        ("trigger_reopen.xml", "4711", "Implementation", None),
        ("trigger_resubmit.xml", "4712", "Open request", None),
        ("trigger_automation_failed.xml", "4711", "Auto verify", None),
        ("trigger_close.xml", "4711", "Implementation", None),
        ("trigger_resolve.xml", "4711", "Implementation", None),
        ("pre_assignment.xml", "4711", "Technical design", None),
        ("scripted_condition_stdin.xml", "4711", "Business approval", None),
        ("ticket_info_minimal_pytos2.xml", "288", "Duplicate", None),
        ("ticket_info_classic_pytos1.xml", "1204", "Current Step Name", None),
        ("odd/flat_names.xml", "77", "Business approval", None),
        ("odd/flat_completion.xml", "78", "Implementation", None),
    ],
    ids=lambda value: Path(str(value)).stem if str(value).endswith(".xml") else "",
)
def test_every_sample_tells_its_id_step_and_comment(
    name: str, id_: str, step: str, comment: str | None
) -> None:
    ticket = read_ticket(sample(name), roots=TICKET)
    assert (ticket.id, ticket.step, ticket.comment) == (id_, step, comment)


def test_texts_come_out_as_their_author_wrote_them() -> None:
    ticket = read_ticket(sample("ticket_info_hostile_values.xml"), roots=TICKET)
    assert ticket.subject == 'Große Änderung <b>"$(id)"</b> `x`; rm -rf / && %0A \\n 東京'
    assert ticket.step == 'Step/with "quotes" & spaces'
    assert ticket.comment == "line one\nline two\ttab"


def test_the_flat_names_give_the_ids_too() -> None:
    assert read_ticket(sample("odd/flat_names.xml"), roots=TICKET).step_id == "8802"
    assert read_ticket(sample("odd/flat_completion.xml"), roots=TICKET).step_id == "8804"


def test_a_flat_priority_is_read_where_there_is_no_nested_one() -> None:
    body = b"<ticket_info><priority>High</priority></ticket_info>"
    assert read_ticket(body, roots=TICKET).priority == "High"


def test_name_and_id_are_of_the_same_step() -> None:
    body = (
        b"<ticket_info><current_stage><name>Review</name></current_stage>"
        b"<completion_data><stage><id>9</id><name>Other</name></stage></completion_data>"
        b"</ticket_info>"
    )
    ticket = read_ticket(body, roots=TICKET)
    assert (ticket.step, ticket.step_id) == ("Review", None)


def test_the_first_of_repeated_elements_counts() -> None:
    assert said(read_ticket(sample("odd/repeated_elements.xml"), roots=TICKET)) == {
        "root": "ticket_info",
        "bare": False,
        "id": "1",
        "subject": "first",
        "step": "A",
    }


def test_an_id_deeper_down_is_not_the_tickets_id() -> None:
    ticket = read_ticket(sample("odd/nested_ids.xml"), roots=TICKET)
    assert (ticket.id, ticket.subject, ticket.priority) == ("4711", "mine", "High")
    assert (ticket.step, ticket.step_id, ticket.requester) == ("Review", "8802", "a.meyer")


def test_unknown_elements_are_passed_over() -> None:
    ticket = read_ticket(sample("odd/unknown_elements.xml"), roots=TICKET)
    assert (ticket.id, ticket.subject) == ("4711", "With  inside")


def test_comments_and_instructions_are_no_part_of_a_text() -> None:
    ticket = read_ticket(sample("odd/cdata_comments_and_instructions.xml"), roots=TICKET)
    assert (ticket.id, ticket.subject) == ("4711", "a <b> & c & d")


def test_names_count_without_their_namespace() -> None:
    ticket = read_ticket(sample("odd/namespaced.xml"), roots=TICKET)
    assert (ticket.root, ticket.id, ticket.subject) == ("ticket_info", "4711", "In a namespace")


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("odd/byte_order_mark.xml", "東京"),
        ("odd/utf_16.xml", "東京"),
        ("odd/latin_1.xml", "Größe"),
    ],
    ids=["utf-8 with a byte order mark", "utf-16", "iso-8859-1"],
)
def test_the_usual_encodings_are_read(name: str, subject: str) -> None:
    assert read_ticket(sample(name), roots=TICKET).subject == subject


@pytest.mark.parametrize("name", ["trigger_test.xml", "odd/test_button_spelled_out.xml"])
def test_a_bare_ticket_is_the_test_button(name: str) -> None:
    assert read_ticket(sample(name), roots=TICKET).is_test_button


@pytest.mark.parametrize(
    "body",
    [b"<ticket_info><id>1</id></ticket_info>", b"<ticket_info>x</ticket_info>", b"<field_info/>"],
    ids=["with an element", "with text", "another root"],
)
def test_anything_else_is_not_the_test_button(body: bytes) -> None:
    assert not read_ticket(body, roots=(ANY,)).is_test_button


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("1736932210123", datetime(2025, 1, 15, 9, 10, 10, 123000, UTC)),
        ("1494489969", datetime(2017, 5, 11, 8, 6, 9, tzinfo=UTC)),
        (" 1736932210000\n", datetime(2025, 1, 15, 9, 10, 10, tzinfo=UTC)),
        ("0", None),
        ("-5", None),
        ("", None),
        ("yesterday", None),
        ("1e9", None),
        ("١٢٣٤٥٦", None),
        ("999999999999999", None),
        ("9" * 500, None),
    ],
    ids=[
        "milliseconds",
        "seconds",
        "white space around",
        "zero",
        "negative",
        "empty",
        "word",
        "exponent",
        "other digits",
        "year 33658",
        "endless",
    ],
)
def test_a_date_is_read_or_left_out(text: str, date: datetime | None) -> None:
    body = f"<ticket_info><createDate>{text}</createDate></ticket_info>".encode()
    assert read_ticket(body, roots=TICKET).created == date


def test_a_long_text_keeps_its_beginning() -> None:
    body = b"<ticket_info><subject>" + b" " * 5_000 + b"a" * 5_000 + b"</subject></ticket_info>"
    assert read_ticket(body, roots=TICKET).subject == "a" * 1_000


def test_an_empty_field_is_none() -> None:
    body = b"<ticket_info><id/><subject> </subject><priority><name/></priority></ticket_info>"
    assert said(read_ticket(body, roots=TICKET)) == {"root": "ticket_info", "bare": False}


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "], ids=["nothing", "blank", "white space"])
def test_an_empty_body_is_a_ticket_only_where_it_is_accepted(body: bytes) -> None:
    assert read_ticket(body, roots=("ticket_info", EMPTY)) == Ticket(root="", bare=True)
    with pytest.raises(NotATicket) as refused:
        read_ticket(body, roots=TICKET)
    assert str(refused.value) == (
        "The body is not a ticket: it is empty, and this script takes <ticket_info>."
    )


def test_a_foreign_root_is_refused_with_its_name_and_what_is_accepted() -> None:
    with pytest.raises(NotATicket) as refused:
        read_ticket(b"<tasks/>", roots=ROOTS[Kind.CONDITION])
    assert str(refused.value) == (
        "The body is not a ticket: its root element is <tasks>,"
        " and this script takes <ticket_info> or an empty body."
    )


def test_any_root_is_taken_where_any_is_accepted() -> None:
    assert read_ticket(b"<whatever/>", roots=(ANY, EMPTY)).root == "whatever"
    with pytest.raises(NotATicket, match="does not start with a tag"):
        read_ticket(b"not xml", roots=(ANY,))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.RISK_ANALYSIS, "risk_analysis_input.xml"),
        (Kind.ASSIGNMENT, "decommission_assignment_input.xml"),
        (Kind.CONDITION, "scripted_condition_stdin.xml"),
        (Kind.PRE_ASSIGNMENT, "pre_assignment.xml"),
    ],
)
def test_every_kind_takes_its_own_document(kind: Kind, name: str) -> None:
    assert not read_ticket(sample(name), roots=ROOTS[kind]).bare
