"""A cookie holds for who signed in, until its time is over, and for nobody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mediator.settings.schema import Role
from mediator.settings.secrets import Secret
from mediator.web.console.auth import LIFE, begin, may_sign_in, unsealed
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
