"""Signing in with a token, and out again."""

from __future__ import annotations

import pytest

from tests.acceptance.console.window import Window
from tests.support.mediator import OPERATOR, VIEWER, Mediator

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_who_asks_for_a_page_gets_there_by_signing_in(window: Window) -> None:
    page = await window.sign_in("/deliveries?state=dead")
    assert page.url.endswith("/console/deliveries?state=dead")
    assert await page.get_by_label("Signed in as").count() == 0
    assert "ops operator" in await page.get_by_role("banner").inner_text()


async def test_who_signs_out_is_out(window: Window) -> None:
    page = await window.sign_in()
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/console/sign-in")
    await window.go("/scripts")
    assert "/sign-in?next=" in page.url
    assert await page.get_by_role("navigation").count() == 0


async def test_it_works_without_javascript(plain: Window) -> None:
    page = await plain.sign_in("/scripts", token=VIEWER)
    assert await page.get_by_role("heading", level=1).inner_text() == "Scripts"
    await page.get_by_role("button", name="Sign out").click()
    assert await page.get_by_label("Token").is_visible()


async def test_a_wrong_token_is_refused_in_words(window: Window, mediator: Mediator) -> None:
    window.expected.append("401")
    page = window.page
    await window.go()
    await page.get_by_label("Token").fill("not-the-token-" * 3)
    await page.get_by_role("button", name="Sign in").click()
    alert = page.get_by_role("alert")
    assert "not one of this mediator's tokens" in await alert.inner_text()
    assert await page.get_by_label("Token").input_value() == ""
    assert await page.get_by_label("Token").get_attribute("aria-invalid") == "true"
    assert mediator.events("sign-in refused")
    assert "not-the-token" not in mediator.log()


async def test_who_only_hands_over_has_no_console(window: Window) -> None:
    window.expected.append("401")
    page = window.page
    await window.go()
    await page.get_by_label("Token").fill("s" * 40)
    await page.get_by_role("button", name="Sign in").click()
    said = await page.get_by_role("alert").inner_text()
    assert said == "The token carrier may only hand over; the console needs viewer or operator."


async def test_a_browser_that_asks_for_nothing_is_led_to_the_console(window: Window) -> None:
    await window.page.goto(window.url)
    assert window.page.url == f"{window.url}/console/sign-in"


async def test_the_log_says_who_signed_in_and_never_how(window: Window, mediator: Mediator) -> None:
    await window.sign_in()
    lines = mediator.events("signed in")
    assert {"by": "ops", "role": "operator"}.items() <= lines[-1].items()
    cookies = await window.page.context.cookies()
    (cookie,) = [c for c in cookies if c.get("name") == "mediator_session"]
    for secret in (OPERATOR, str(cookie.get("value"))):
        assert secret not in mediator.log()
