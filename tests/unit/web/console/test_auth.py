"""Who is let in by what cookie, which forms are taken, and that guessing is slowed down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mediator.settings.schema import Role
from mediator.settings.secrets import Secret
from mediator.web.console.auth import (
    LIFE,
    MOST,
    WINDOW,
    Throttle,
    begin,
    by_https,
    may_sign_in,
    same_origin,
    unsealed,
)
from mediator.web.services import Holder

NOW = datetime(2026, 2, 28, 9, 30, 0, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OPS = Holder(name="ops.team-1", role=Role.OPERATOR, secret=Secret("o" * 40))
EYES = Holder(name="eyes", role=Role.VIEWER, secret=Secret("v" * 40))
SENDER = Holder(name="sender", role=Role.SENDER, secret=Secret("s" * 40))
HOLDERS = (OPS, EYES, SENDER)


def test_a_session_is_read_back_by_whoever_has_the_same_settings() -> None:
    session = begin(OPS, now=NOW)
    found = unsealed(session.sealed(), HOLDERS, now=NOW + SECOND)
    assert found == session
    assert found is not None
    assert found.may_operate
    assert found.is_form_token(session.form_token)


def test_it_ends_after_its_time() -> None:
    cookie = begin(OPS, now=NOW).sealed()
    assert unsealed(cookie, HOLDERS, now=NOW + LIFE - SECOND) is not None
    assert unsealed(cookie, HOLDERS, now=NOW + LIFE) is None


def test_one_from_the_future_is_none() -> None:
    cookie = begin(OPS, now=NOW + timedelta(days=2)).sealed()
    assert unsealed(cookie, HOLDERS, now=NOW) is None


def test_a_changed_token_signs_its_holder_out() -> None:
    cookie = begin(OPS, now=NOW).sealed()
    changed = replace(OPS, secret=Secret("n" * 40))
    assert unsealed(cookie, (changed, EYES), now=NOW) is None
    assert unsealed(cookie, (EYES,), now=NOW) is None


def test_who_lost_the_role_is_out_too() -> None:
    cookie = begin(OPS, now=NOW).sealed()
    assert unsealed(cookie, (replace(OPS, role=Role.SENDER),), now=NOW) is None
    seen = unsealed(cookie, (replace(OPS, role=Role.VIEWER),), now=NOW)
    assert seen is not None
    assert not seen.may_operate


@pytest.mark.parametrize("position", range(0, 100, 3))
def test_no_byte_of_it_can_be_changed(position: int) -> None:
    cookie = begin(EYES, now=NOW).sealed()
    place = position % len(cookie)
    other = "0" if cookie[place] != "0" else "1"
    assert unsealed(cookie[:place] + other + cookie[place + 1 :], HOLDERS, now=NOW) is None


@pytest.mark.parametrize(
    "cookie",
    [
        pytest.param("", id="empty"),
        pytest.param("ops", id="a word"),
        pytest.param("ops.1.2", id="a part is missing"),
        pytest.param("eyes.99999999999.n.m", id="in a thousand years"),
        pytest.param("eyes.9999999999999999999999.n.m", id="after all time"),
        pytest.param("eyes.-1.n.m", id="before all time"),
        pytest.param("eyes.\N{ARABIC-INDIC DIGIT ONE}.n.m", id="a digit that is not ASCII"),
        pytest.param("eyes.1.\udcff.m", id="not UTF-8"),
        pytest.param("eyes.1.n." + "m" * 10_000, id="long"),
        pytest.param("nobody.1.n.m", id="an unknown name"),
        pytest.param("sender.1.n.m", id="a role that may not sign in"),
    ],
)
def test_rubbish_is_no_session(cookie: str) -> None:
    assert unsealed(cookie, HOLDERS, now=NOW) is None


def test_of_another_holder_nobody_can_make_one() -> None:
    name, rest = begin(EYES, now=NOW).sealed().split(".", 1)
    assert name == "eyes"
    assert unsealed(f"{OPS.name}.{rest}", HOLDERS, now=NOW) is None


def test_a_form_token_is_of_one_session_alone() -> None:
    one, other = begin(OPS, now=NOW), begin(OPS, now=NOW)
    assert one.form_token != other.form_token
    assert not one.is_form_token(other.form_token)
    assert not one.is_form_token("")
    assert not one.is_form_token("\udcff\N{SNOWMAN}")
    assert one.form_token not in one.sealed(), "the cookie gives away no form token"


def test_neither_shows_the_secret() -> None:
    session = begin(OPS, now=NOW)
    for text in (session.sealed(), session.form_token, repr(session)):
        assert OPS.secret.reveal() not in text


def test_who_only_hands_over_may_not_sign_in() -> None:
    assert [may_sign_in(holder) for holder in HOLDERS] == [True, True, False]


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        pytest.param({"Sec-Fetch-Site": "same-origin"}, True, id="the browser says so"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, False, id="a neighbour"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, False, id="a stranger"),
        pytest.param({"Sec-Fetch-Site": "none"}, False, id="typed"),
        pytest.param(
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://a", "Host": "a"},
            False,
            id="the browser knows better than the Host",
        ),
        pytest.param({"Origin": "http://a:8080", "Host": "a:8080"}, True, id="same host and port"),
        pytest.param({"Origin": "http://a", "Host": "a"}, True, id="the usual port"),
        pytest.param({"Origin": "http://a", "Host": "a:80"}, True, id="the usual port spelt out"),
        pytest.param({"Origin": "http://[::1]:80", "Host": "[::1]"}, True, id="IPv6"),
        pytest.param({"Origin": "http://A.example", "Host": "a.example"}, True, id="capitals"),
        pytest.param({"Origin": "http://a:1", "Host": "a:2"}, False, id="another port"),
        pytest.param({"Origin": "http://b", "Host": "a"}, False, id="another host"),
        pytest.param({"Origin": "http://a.b", "Host": "a"}, False, id="a longer name"),
        pytest.param({"Origin": "null", "Host": "a"}, False, id="a sandbox"),
        pytest.param({"Origin": "null", "Host": ""}, False, id="a sandbox and no host"),
        pytest.param({"Origin": "http://[", "Host": "a"}, False, id="rubbish"),
        pytest.param({"Origin": "http://a", "Host": "["}, False, id="a host of rubbish"),
        pytest.param({"Host": "a"}, False, id="no browser"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_where_a_form_comes_from(headers: dict[str, str], ours: bool) -> None:
    assert same_origin(headers) is ours


@pytest.mark.parametrize(
    ("header", "secure", "https"),
    [
        pytest.param(None, True, True, id="the mediator's own TLS"),
        pytest.param(None, False, False, id="plain"),
        pytest.param("https", False, True, id="a proxy's"),
        pytest.param("https, http", False, True, id="two proxies"),
        pytest.param("http", False, False, id="a plain proxy"),
    ],
)
def test_whether_the_browser_speaks_https(
    header: str | None,
    secure: bool,
    https: bool,
) -> None:
    headers = {} if header is None else {"X-Forwarded-Proto": header}
    assert by_https(headers, secure=secure) is https


def fail(throttle: Throttle, address: str, *, times: int = MOST) -> None:
    for _ in range(times):
        throttle.failed(address, now=NOW)


def test_some_mistakes_cost_nothing() -> None:
    throttle = Throttle()
    fail(throttle, "a", times=MOST - 1)
    assert throttle.wait("a", now=NOW) == 0


def test_many_shut_one_address_out_for_a_while() -> None:
    throttle = Throttle()
    fail(throttle, "a")
    assert 0 < throttle.wait("a", now=NOW + SECOND) <= WINDOW.total_seconds()
    assert throttle.wait("b", now=NOW + SECOND) == 0
    assert throttle.wait("a", now=NOW + WINDOW) == 0


def test_the_count_begins_anew_after_a_while() -> None:
    throttle = Throttle()
    fail(throttle, "a")
    throttle.failed("a", now=NOW + WINDOW)
    assert throttle.wait("a", now=NOW + WINDOW) == 0


def test_a_clock_that_is_set_back_shuts_nobody_out() -> None:
    throttle = Throttle()
    fail(throttle, "a")
    assert throttle.wait("a", now=NOW - timedelta(days=1)) == 0


def test_its_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(5000):
        throttle.failed(f"address-{number}", now=NOW)
    assert len(throttle) == 1000
