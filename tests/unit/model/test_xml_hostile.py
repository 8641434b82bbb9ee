"""Documents made to hurt: each is refused in a sentence, quickly, and without a jump of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediator.errors import NotATicket
from mediator.model import xml
from mediator.model.policy import ANY
from mediator.model.ticket import Ticket, read_ticket

SAMPLES = Path(__file__).parents[2] / "samples"
HOSTILE = SAMPLES / "hostile"
TICKET = ("ticket_info",)


def refusal(body: bytes) -> str:
    with pytest.raises(NotATicket) as refused:
        read_ticket(body, roots=(ANY,))
    return str(refused.value).removeprefix("The body is not a ticket: ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("attribute_twice.xml", "a tag has the same attribute twice (line 1, column 25)."),
        (
            "billion_laughs.xml",
            "it declares a document type (DOCTYPE), which is never accepted (line 2, column 1).",
        ),
        (
            "quadratic_blow_up.xml",
            "it declares a document type (DOCTYPE), which is never accepted (line 1, column 1).",
        ),
        (
            "external_entity.xml",
            "it declares a document type (DOCTYPE), which is never accepted (line 1, column 1).",
        ),
        (
            "parameter_entity.xml",
            "it declares a document type (DOCTYPE), which is never accepted (line 1, column 1).",
        ),
        (
            "external_dtd.xml",
            "it declares a document type (DOCTYPE), which is never accepted (line 2, column 1).",
        ),
        (
            "doctype_utf_16.xml",
            "it declares a document type (DOCTYPE), which is never accepted (line 1).",
        ),
        (
            "undefined_entity.xml",
            "it uses an entity that XML does not define (line 1, column 40).",
        ),
        ("utf_7.xml", "its character encoding 'UTF-7' is not accepted; UTF-8 is (line 1)."),
        ("utf_32.xml", "its character encoding 'UTF-32' is not accepted; UTF-8 is (line 1)."),
        (
            "unknown_encoding.xml",
            "its character encoding 'klingon' is not accepted; UTF-8 is (line 1).",
        ),
        ("ebcdic.xml", "its character encoding is not known here (line 1, column 1)."),
        ("claims_utf_16.xml", "it is not well-formed XML (line 1, column 38)."),
        (
            "invalid_utf_8.xml",
            "it is not written in the character encoding it claims (line 1, column 33).",
        ),
        ("cut_off.xml", "it breaks off before its last tag (line 1, column 54)."),
        ("cut_off_in_tag.xml", "a tag is not closed by > (line 1, column 35)."),
        ("two_tickets.xml", "there is something after its end (line 2, column 1)."),
        ("trailing_text.xml", "there is something after its end (line 1, column 39)."),
        ("nul_byte.xml", "it holds a character that XML does not allow (line 1, column 19)."),
        ("nul_reference.xml", "it holds a character that XML does not allow (line 1, column 22)."),
        (
            "late_declaration.xml",
            "there is something before its XML declaration (line 2, column 6).",
        ),
        ("crossed_tags.xml", "an end tag does not fit its start tag (line 1, column 29)."),
        ("not_xml.txt", "it does not start with a tag (line 1, column 1)."),
    ],
    ids=lambda value: Path(value).stem if value.endswith((".xml", ".txt")) else "",
)
def test_a_hostile_sample_is_refused_with_reason_and_place(name: str, sentence: str) -> None:
    assert refusal((HOSTILE / name).read_bytes()) == sentence


def test_every_hostile_sample_is_refused_or_harmless() -> None:
    accepted = {
        path.name for path in HOSTILE.iterdir() if isinstance(_outcome(path.read_bytes()), Ticket)
    }
    assert accepted == {"xinclude.xml"}


def test_an_inclusion_is_not_obeyed() -> None:
    ticket = read_ticket((HOSTILE / "xinclude.xml").read_bytes(), roots=TICKET)
    assert (ticket.id, ticket.subject) == ("1", None)


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


def listed(count: int) -> bytes:
    return b"<a>" + b"<b/>" * count + b"</a>"


def named(count: int) -> bytes:
    return b"<a>" + b"".join(b"<b%d/>" % number for number in range(count)) + b"</a>"


def attributes(count: int) -> bytes:
    return b"<a " + b" ".join(b'b%d="x"' % number for number in range(count)) + b"/>"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (nested(10_000), "its elements are nested deeper than 100 (line 1)."),
        (listed(300_000), "it has more than 250000 elements (line 1)."),
        (named(2_000), "it has more than 1000 different names (line 1)."),
        (attributes(2_000), "it has more than 1000 different names (line 1)."),
        (
            attributes(200_000),
            "a single tag, comment or CDATA section is longer than 262144 bytes (line 1).",
        ),
        (
            b'<a b="' + b"x" * 5_000_000 + b'"/>',
            "a single tag, comment or CDATA section is longer than 262144 bytes (line 1).",
        ),
        (
            b"\n<a><!--" + b"\n" * 5_000_000 + b"--></a>",
            "a single tag, comment or CDATA section is longer than 262144 bytes",
        ),
        (b"<" + b"x" * 1_000 + b"/>", "a name is longer than 256 characters (line 1)."),
        (b"<" + b"x" * 60_000 + b"/>", "a name is too long (line 1, column 2)."),
    ],
    ids=[
        "10,000 levels",
        "300,000 elements",
        "2,000 names",
        "2,000 attributes",
        "200,000 attributes",
        "attribute of 5 MB",
        "comment of 5 MB",
        "name of 1,000 characters",
        "name of 60,000 characters",
    ],
)
def test_excess_is_refused(body: bytes, sentence: str) -> None:
    assert refusal(body).startswith(sentence)


@pytest.mark.parametrize(
    "body",
    [
        nested(xml.MAX_DEPTH),
        listed(xml.MAX_ELEMENTS - 1),
        named(xml.MAX_NAMES - 1),
        b"<a>" + b"x" * 20_000_000 + b"</a>",
        b"<a>" + b"<b>&lt;x</b>\n" * 200_000 + b"</a>",
    ],
    ids=["deep", "many", "names", "text of 20 MB", "many lines"],
)
def test_a_big_document_within_the_limits_is_read(body: bytes) -> None:
    assert read_ticket(body, roots=(ANY,)).root == "a"


def test_a_refusal_never_quotes_the_body() -> None:
    bodies = [
        b"<ticket_info><secret-word></ticket_info>",
        b"<ticket_info>&secret-word;</ticket_info>",
        b"<!DOCTYPE secret-word><secret-word/>",
        b"<ticket_info secret-word='1' secret-word='2'/>",
        b"<ticket_info>secret-word",
        b"secret-word",
        b"<secret-word:ticket_info>",
    ]
    assert [body for body in bodies if "secret-word" in refusal(body)] == []


def test_a_strange_root_is_shown_bounded_and_printable() -> None:
    with pytest.raises(NotATicket) as refused:
        read_ticket(f"<{'ü' * 200}/>".encode(), roots=TICKET)
    assert f"<{'ü' * 60}>" in str(refused.value)


_GROWTH = """
import re, sys
from pathlib import Path
from lxml import etree
from mediator.errors import NotATicket
from mediator.model.ticket import read_ticket

def peak():  # KiB; getrusage would start with the peak of the parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def read(body):
    try:
        read_ticket(body, roots=["*"])
    except NotATicket:
        pass

body = sys.stdin.buffer.read()
read(b"<ticket_info><id>1</id></ticket_info>")
before = peak()
{act}
print(peak() - before)
"""


def growth(body: bytes, *, act: str = "read(body)") -> float:
    """MiB by which the peak memory of a fresh process grows when it does `act`."""
    program = [sys.executable, "-c", _GROWTH.format(act=act)]
    done = subprocess.run(program, input=body, capture_output=True, check=True)
    return int(done.stdout) / 1024


@pytest.mark.parametrize(
    "body",
    [
        (HOSTILE / "billion_laughs.xml").read_bytes(),
        (HOSTILE / "quadratic_blow_up.xml").read_bytes(),
        nested(1_000_000),
        listed(1_000_000),
        named(500_000),
        attributes(500_000),
        b'<a b="' + b"x" * 9_000_000 + b'"/>',
        b"<a><!--" + b"x" * 9_000_000 + b"--></a>",
        b"<ticket_info><subject>" + b"x" * 9_000_000 + b"</subject></ticket_info>",
        b"<ticket_info>" + b"<subject>xxxxxxxx</subject>" * 200_000 + b"</ticket_info>",
    ],
    ids=[
        "billion laughs",
        "quadratic blow-up",
        "deep",
        "elements",
        "names",
        "attributes",
        "attribute",
        "comment",
        "text",
        "repeated",
    ],
)
def test_memory_does_not_jump(body: bytes) -> None:
    assert growth(body) < 4


def test_the_measurement_of_memory_can_fail() -> None:
    """A tree of the same document would be seen."""
    assert growth(listed(500_000), act="etree.XML(body)") > 20


def test_the_names_of_refused_documents_do_not_pile_up() -> None:
    """libxml2 never forgets a name, so one document may leave only little behind."""
    act = """
for n in range(50):
    read(b"<a>" + b"".join(b"<%s%d_%d/>" % (b"x" * 150, n, m) for m in range(20000)) + b"</a>")
"""
    assert growth(b"", act=act) < 40  # all the names together are 160 MB


def _outcome(body: bytes) -> Ticket | str:
    try:
        return read_ticket(body, roots=(ANY,))
    except NotATicket as refused:
        return str(refused)


_PIECES = st.sampled_from(
    [
        b"<ticket_info>", b"</ticket_info>", b"<id>", b"</id>", b"<a b='c'>", b"&lt;", b"&#65;",
        b"&x;", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml version='1.0'?>", b"<?pi ?>",
        b"<!DOCTYPE a>", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"xmlns:x='y'", b"<x:y/>",
        b"encoding='utf-16'", b" ", b"\n", b"text", b"<", b">", b"/", b"'", b'"', b"=", b"&",
    ]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=300), st.lists(_PIECES, max_size=12).map(b"".join)))
def test_whatever_the_bytes_it_is_a_ticket_or_one_sentence(body: bytes) -> None:
    outcome = _outcome(body)
    if isinstance(outcome, str):
        assert outcome.endswith(".")
        assert outcome.isprintable()


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60))
def test_every_subject_comes_out_as_it_went_in(subject: str) -> None:
    escaped = subject.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    allowed = "".join(letter for letter in escaped if letter not in "\ufffe\uffff")
    body = f"<ticket_info><subject>{allowed}</subject></ticket_info>".encode()
    expected = "".join(letter for letter in subject if letter not in "\ufffe\uffff").strip()
    assert read_ticket(body, roots=TICKET).subject == (expected or None)


@given(st.binary(max_size=40), st.integers(0, 800))
def test_a_damaged_ticket_never_raises_anything_else(noise: bytes, at: int) -> None:
    body = (SAMPLES / "trigger_advance.xml").read_bytes()
    _outcome(body[:at] + noise + body[at + len(noise) :])
    _outcome(body[:at])
