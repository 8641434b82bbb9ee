"""Whatever a stranger writes into the headers, the answer is Unauthenticated, and soon."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from mediator.errors import Unauthenticated
from mediator.model.signatures import Key, Reason, Verified, Verifier, sign

NOW = datetime(2025, 1, 15, 9, 16, 28, tzinfo=UTC)
KEY = Key(id="securechange", secret=b"0123456789abcdef0123456789abcdef")
VERIFIER = Verifier([KEY], window=timedelta(seconds=300))
TARGET = "/v1/scripts/notify/deliveries?SCW_EVENT=ADVANCE"
GOOD = sign(
    method="POST",
    target=TARGET,
    body=b"<ticket_info/>",
    key=KEY,
    idempotency_key="abc",
    now=NOW,
    nonce="n",
)
NAMES = sorted(GOOD)


def proven(
    lines: Sequence[tuple[str, str]], *, method: str = "POST", target: str = TARGET
) -> Verified:
    headers = CIMultiDictProxy(CIMultiDict(lines))
    return VERIFIER.verify(method=method, target=target, headers=headers, now=NOW)


def reason(lines: Sequence[tuple[str, str]], *, method: str = "POST", target: str = TARGET) -> str:
    """Why the request is refused."""
    with pytest.raises(Unauthenticated) as refused:
        proven(lines, method=method, target=target)
    sentence = refused.value.detail
    assert sentence.isprintable()
    assert len(sentence) < 600
    assert KEY.secret.decode() not in sentence
    return Reason(refused.value.reason)


_PIECES = st.sampled_from(
    [
        "mediator", "sig1", "=", "(", ")", ";", ",", " ", ":", '"@method"', '"@request-target"',
        '"content-digest"', '"idempotency-key"', '"@query-param";name="a"', '"signature";key="x"',
        ";created=1736932588", ';keyid="securechange"', ';nonce="n"', ';alg="hmac-sha256"',
        ';tag="mediator"', ";expires=1", "=:AAAA:", "?1", "@1736932588", '%"f%c3%bc"', "1.5",
        '"\\"', "\\", "*", "\t", "\x00", "\n", "\u00e9", "\udcff", "sha-256=:", "9" * 20,
    ]
)  # fmt: skip
_VALUES = st.one_of(
    st.text(max_size=80),
    st.lists(_PIECES, max_size=20).map("".join),
    st.sampled_from([*GOOD.values()]),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), _VALUES), max_size=8))
def test_headers_made_of_anything_are_refused_with_a_reason(lines: list[tuple[str, str]]) -> None:
    if sorted(lines) != sorted(GOOD.items()):
        assert reason(lines)


@given(
    st.sampled_from(NAMES),
    st.integers(0, 300),
    st.one_of(st.text(max_size=3), _PIECES),
    st.integers(0, 3),
)
def test_a_damaged_header_is_refused_or_proves_the_same(
    name: str, at: int, noise: str, cut: int
) -> None:
    """Blanks and parameters of the signature's own bytes are not signed, and prove nothing."""
    damaged = GOOD[name][:at] + noise + GOOD[name][at + cut :]
    lines = [*(GOOD | {name: damaged}).items()]
    with suppress(Unauthenticated):
        assert proven(lines) == proven([*GOOD.items()])


@given(st.text(max_size=20), st.text(max_size=60))
def test_a_request_line_of_anything_is_refused(method: str, target: str) -> None:
    if (method, target) != ("POST", TARGET):
        assert reason([*GOOD.items()], method=method, target=target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [
        "a" * 1_000_000,
        ",".join("a" for _ in range(2_000)),
        "a=" + "(" * 4_000,
        "a=(" + " " * 4_000 + ")",
        "a=()" + ";b" * 2_000,
        "a=(" + '"x" ' * 1_000 + ")",
        'a="' + "\\" * 4_000,
        "a=:" + "A" * 4_000 + ":",
        "a=" + "9" * 4_000,
        " " * 1_000_000,
        "=:" * 2_000,
    ],
    ids=[
        "a megabyte",
        "members",
        "parentheses",
        "blanks inside",
        "parameters",
        "components",
        "backslashes",
        "bytes",
        "digits",
        "blanks",
        "colons",
    ],
)
def test_a_giant_header_costs_little_time(name: str, value: str) -> None:
    started = time.process_time()
    assert reason([*(GOOD | {name: value}).items()])
    assert time.process_time() - started < 0.5  # measured: below 0.03


def test_a_thousand_lines_of_a_header_cost_little_time() -> None:
    started = time.process_time()
    assert reason([*GOOD.items(), *[("Signature", "a=:AAAA:")] * 10_000]) == Reason.MALFORMED
    assert time.process_time() - started < 0.5
