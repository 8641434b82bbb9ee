"""Retry and cancel by their buttons."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.acceptance.console.conftest import opened
from tests.acceptance.console.window import Window
from tests.support.mediator import VIEWER, Client, Handover, Mediator

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session", params=[True, False], ids=["with", "without"])
async def either(
    request: pytest.FixtureRequest, mediator: Mediator, browser: Browser
) -> AsyncIterator[Window]:
    """A window with JavaScript, and one without."""
    async with opened(mediator, browser, java_script_enabled=request.param) as window:
        yield window


@pytest_asyncio.fixture(loop_scope="session")
async def dead(client: Client) -> str:
    delivery = (await client.hand_over(Handover(script="gives-up.sh"))).delivery
    await client.until(delivery, "dead")
    return delivery


async def test_what_is_dead_is_retried(either: Window, client: Client, dead: str) -> None:
    page = await either.sign_in(f"/deliveries/{dead}")
    await page.get_by_role("button", name="Retry").click()
    await page.wait_for_url("**told=retried")
    assert "It is due again now" in await either.text()
    found = await client.until(dead, "dead")
    assert found["attempts_made"] == 2
    await page.reload()
    assert (await client.delivery(dead))["attempts_made"] == 2, "a reload does not post again"


async def test_what_runs_is_cancelled_after_a_second_thought(
    either: Window, mediator: Mediator, client: Client
) -> None:
    handover = Handover(script="steps.py", arguments=("never", "0"))
    delivery = (await client.hand_over(handover)).delivery
    await client.until(delivery, "running")
    page = await either.sign_in(f"/deliveries/{delivery}")
    assert await page.get_by_role("button", name="Retry").count() == 0
    assert not await page.get_by_role("button", name="Cancel this delivery").is_visible()
    await page.get_by_text("Cancel…").click()
    await page.get_by_role("button", name="Cancel this delivery").click()
    await page.wait_for_url("**told=stopping")
    found = await client.until(delivery, "cancelled")
    assert found["last_error"] == "cancelled by ops"
    (line,) = [
        line for line in mediator.events("delivery cancelled") if line["delivery_id"] == delivery
    ]
    assert line["by"] == "ops"


async def test_a_viewer_sees_why_nothing_can_be_done(window: Window, dead: str) -> None:
    page = await window.sign_in(f"/deliveries/{dead}", token=VIEWER)
    button = page.get_by_role("button", name="Retry")
    assert await button.is_disabled()
    assert await page.locator("form[action$='/retry'], form[action$='/cancel']").count() == 0
    assert "needs the role operator; you are a viewer" in await window.text()


async def test_what_ended_meanwhile_is_said_in_words(
    plain: Window, mediator: Mediator, client: Client
) -> None:
    plain.expected.append("409")
    handover = Handover(script="steps.py", arguments=("soon", "0"))
    delivery = (await client.hand_over(handover)).delivery
    await client.until(delivery, "running")
    page = await plain.sign_in(f"/deliveries/{delivery}")
    (mediator.home / "soon").touch()
    await client.until(delivery, "succeeded")
    await page.get_by_text("Cancel…").click()
    await page.get_by_role("button", name="Cancel this delivery").click()
    assert "has already ended" in await plain.text()
