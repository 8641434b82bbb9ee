"""What happens is seen without loading a page again."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Locator

from tests.acceptance.console.window import Window
from tests.support.conditions import eventually
from tests.support.mediator import VIEWER, Client, Handover, Mediator

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def begun(client: Client, gate: str, end: str = "0") -> str:
    """One whose script has written its first line and waits."""
    delivery = (await client.hand_over(Handover(script="steps.py", arguments=(gate, end)))).delivery

    async def written() -> dict[str, Any]:
        return (await client.get(f"/v1/deliveries/{delivery}/output")).json()

    await eventually(written, until=lambda seen: seen["stderr"] != "")
    return delivery


async def shows(locator: Locator, text: str) -> None:
    """Return once it shows the text."""

    async def look() -> str:
        return await locator.first.inner_text() if await locator.count() else ""

    await eventually(look, until=lambda seen: text in seen)


async def test_output_appears_while_the_script_writes_it(
    window: Window, mediator: Mediator, client: Client
) -> None:
    delivery = await begun(client, "live-1")
    page = await window.sign_in(f"/deliveries/{delivery}", token=VIEWER)
    await page.evaluate("window.same = true")
    stdout = page.get_by_role("region", name="stdout of attempt 1")
    await shows(stdout, "first line of live-1")
    await shows(page.get_by_role("region", name="stderr of attempt 1"), "a warning")
    (mediator.home / "live-1").touch()
    await shows(stdout, "last line")
    await shows(page.locator("#state"), "succeeded")
    await shows(page.locator("#attempt-1-head"), "ok")
    await shows(page.locator("#news"), "The delivery is now succeeded.")
    text = await stdout.inner_text()
    assert text.count("first line") == 1
    assert "\\u{202e}\\u{1b}[31m<b>bold</b>" in text, "it is text, and it is seen whole"
    assert await page.evaluate("window.same"), "the page was not loaded again"


async def test_a_further_attempt_joins_those_that_were(
    window: Window, mediator: Mediator, client: Client
) -> None:
    delivery = await begun(client, "live-2", "1")
    page = await window.sign_in(f"/deliveries/{delivery}")
    await shows(page.get_by_role("region", name="stdout of attempt 1"), "first line")
    (mediator.home / "live-2").touch()
    await shows(page.get_by_role("region", name="stdout of attempt 2"), "last line")
    await shows(page.locator("#attempt-1-head"), "failed")
    await shows(page.locator("#attempt-2-head"), "ok")
    first = await page.locator("#attempts > li").first.get_attribute("data-attempt")
    assert first == "2", "the latest is the first"
    for number in (1, 2):
        whole = await page.get_by_role("region", name=f"stdout of attempt {number}").inner_text()
        assert whole.count("first line") == 1
        assert whole.count("last line") == 1


async def test_lists_follow_and_the_focus_stays_where_it_is(
    window: Window, mediator: Mediator, client: Client
) -> None:
    page = await window.sign_in("/deliveries")
    delivery = await begun(client, "live-3")
    row = page.locator(f"a[href$='{delivery}']")
    await eventually(row.count)
    await row.focus()
    (mediator.home / "live-3").touch()
    await shows(page.locator("tr", has=row), "succeeded")
    assert str(await page.locator(":focus").get_attribute("href")).endswith(delivery)


async def test_the_overview_follows_too(window: Window, mediator: Mediator, client: Client) -> None:
    page = await window.sign_in()
    delivery = await begun(client, "live-4")
    await eventually(page.locator(f"#running a[href$='{delivery}']").count)
    (mediator.home / "live-4").touch()
    await eventually(
        page.locator(f"#running a[href$='{delivery}']").count, until=lambda count: count == 0
    )


async def test_who_wants_quiet_turns_it_off(
    window: Window, mediator: Mediator, client: Client
) -> None:
    page = await window.sign_in("/deliveries")
    live = page.get_by_role("button", name="Live")
    await live.press("Space")
    assert await live.get_attribute("aria-pressed") == "false"
    other = await page.context.new_page()
    await other.goto(page.url)
    seen = []
    for gate in ("live-5", "live-5-again"):  # the second is seen after a pause in any case
        seen.append(await begun(client, gate))
        await eventually(other.locator(f"a[href$='{seen[-1]}']").count)
        (mediator.home / gate).touch()
    delivery = seen[0]
    assert await page.locator(f"a[href$='{delivery}']").count() == 0
    await live.press("Space")
    await eventually(page.locator(f"a[href$='{delivery}']").count)


async def test_without_javascript_it_is_seen_by_loading_again(
    plain: Window, mediator: Mediator, client: Client
) -> None:
    delivery = await begun(client, "live-6")
    page = await plain.sign_in(f"/deliveries/{delivery}")
    stdout = page.get_by_role("region", name="stdout of attempt 1")
    assert "first line" in await stdout.inner_text()
    (mediator.home / "live-6").touch()
    await client.until(delivery, "succeeded")
    await page.get_by_role("link", name="Load again").click()
    await shows(stdout, "last line")
    assert await page.get_by_role("link", name="Load again").count() == 0
