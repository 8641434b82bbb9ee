"""What the pages show: to everybody, whatever is in a ticket, on every screen."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.acceptance.console.conftest import opened
from tests.acceptance.console.window import Window
from tests.support.conditions import eventually
from tests.support.mediator import VIEWER, Client, Handover, Mediator

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = (
    "\"><script>alert(1)</script><img src=x onerror='alert(2)'>{{7*7}}\u202egnp.exe\u2066 &amp;"
)
PAGES = ["", "/deliveries", "/deliveries/{id}", "/scripts", "/scripts/gives-up.sh", "/routes"]


def ticket(subject: str, number: str = "4711") -> bytes:
    quoted = subject.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f"<ticket_info><id>{number}</id><subject>{quoted}</subject><priority><name>High</name>"
        "</priority><requester><login>a.meyer</login><display_name>Anna Meyer</display_name>"
        f"</requester><comment>{quoted}</comment><current_stage><id>7</id><name>Review</name>"
        "</current_stage></ticket_info>"
    ).encode()


async def dead(client: Client, *, body: bytes, arguments: tuple[str, ...] = ("Firewall",)) -> str:
    handover = Handover(script="gives-up.sh", body=body, arguments=arguments, event="ADVANCE")
    delivery = (await client.hand_over(handover)).delivery
    await client.until(delivery, "dead")
    return delivery


@pytest_asyncio.fixture(loop_scope="session")
async def delivery(client: Client) -> str:
    """One that is dead, of a ticket that means no good."""
    return await dead(client, body=ticket(HOSTILE), arguments=("Firewall", "</pre><b>x"))


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_can_be_read_without_javascript(
    plain: Window, delivery: str, path: str
) -> None:
    page = await plain.sign_in(path.format(id=delivery), token=VIEWER)
    assert page.url.startswith(f"{plain.url}/console")
    assert await page.get_by_role("heading", level=1).count() == 1
    assert await page.locator("#live").is_hidden(), "nothing is live without it"


async def test_the_overview_says_how_it_is(plain: Window, delivery: str, client: Client) -> None:
    page = await plain.sign_in()
    text = await plain.text()
    assert "Ready: deliveries are taken, stored and run." in text
    assert "broken.py: its interpreter /no/such/interpreter" in text
    backlog = await client.sample("mediator_deliveries_dead")
    assert f"{backlog:.0f} dead" in " ".join(text.split())
    chart = page.get_by_role("img", name="deliveries ended in 24 hours")
    assert await chart.locator("rect.bad").count() == 1
    await page.get_by_text("As a table").click()
    assert await page.get_by_role("table", name="Deliveries that ended, by hour").is_visible()
    failures = page.get_by_role("table", name="Dead deliveries, newest first")
    await failures.get_by_role("link").first.click()
    assert page.url.endswith(delivery)


async def test_a_delivery_shows_its_ticket_its_attempt_and_what_it_wrote(
    plain: Window, delivery: str
) -> None:
    await plain.sign_in(f"/deliveries/{delivery}")
    text = " ".join((await plain.text()).split())
    for shown in (
        "4711", "Review", "High", "Anna Meyer", "a.meyer", "ADVANCE", "gives-up.sh", delivery,
        "Attempt 1", "exit code 77", "no such firewall", "Signed with key securechange",
    ):  # fmt: skip
        assert shown in text, shown
    await plain.page.get_by_text("Show the XML").click()
    xml = await plain.page.get_by_role("region", name="XML of the ticket").inner_text()
    assert xml.startswith("<ticket_info><id>4711</id><subject>")


@pytest.mark.parametrize("path", PAGES)
async def test_a_hostile_ticket_does_nothing(window: Window, delivery: str, path: str) -> None:
    page = await window.sign_in(path.format(id=delivery))
    assert await page.locator("script:not([src]), img").count() == 0
    text = await page.content()
    assert "\u202e" not in text
    assert "\u2066" not in text
    if path not in {"/routes", "/scripts"}:
        shown = HOSTILE.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066")
        assert shown in await window.text(), "a person sees what is there"
    # The window's own watch fails the test when a dialog opened or the policy was violated.


async def test_even_what_a_form_says_again_is_harmless(window: Window) -> None:
    page = await window.sign_in(f"/deliveries?script={quote(HOSTILE)}")
    value = await page.get_by_label("Script").input_value()
    assert value.startswith('"><script>')
    await window.go(f"/routes?event={quote(HOSTILE)}&subject={quote(HOSTILE)}")
    assert await page.locator("script:not([src])").count() == 0


@pytest.mark.parametrize(
    "body", [ticket("Gr\u00f6\u00dfe").decode().encode("utf-16"), b"<ticket_info/>"],
    ids=["UTF-16", "bare"],
)  # fmt: skip
async def test_odd_tickets_have_a_page_too(plain: Window, client: Client, body: bytes) -> None:
    handover = Handover(script="ok.sh", body=body, event="TEST")
    answer = await client.hand_over(handover)
    assert answer.delivery, answer
    await plain.sign_in(f"/deliveries/{answer.delivery}")
    assert await plain.page.get_by_role("heading", name="Attempts").is_visible()


async def test_what_is_large_is_shown_in_part_and_told_so(plain: Window, client: Client) -> None:
    body = ticket("large").replace(b"</ticket_info>", b"<x>%s</x></ticket_info>" % (b"y" * 200_000))
    delivery = (await client.hand_over(Handover(script="flood.sh", body=body))).delivery
    await client.until(delivery, "dead")
    page = await plain.sign_in(f"/deliveries/{delivery}")
    assert await page.locator("#attempts > li").count() == 12
    assert await page.locator("#attempts pre").count() == 20, "of the last ten attempts"
    stdout = await page.get_by_role("region", name="stdout of attempt 12").inner_text()
    assert stdout.rstrip().endswith("line 09999")
    assert len(stdout) < 40_000
    text = await plain.text()
    assert "Only the end is shown." in text
    assert "only the beginning is shown" in text
    assert len(await page.content()) < 600_000


async def test_filters_find_and_pages_follow(plain: Window, client: Client) -> None:
    made = [await dead(client, body=ticket(f"n{n}", number="777")) for n in range(3)]
    page = await plain.sign_in("/deliveries")
    await page.get_by_label("Ticket id").fill(" 777 ")
    await page.get_by_label("State").select_option("dead")
    await page.get_by_label("Received since").fill("2h")
    await page.get_by_role("button", name="Filter").click()
    rows = page.get_by_role("table", name="Deliveries, newest first").get_by_role("row")
    assert await rows.count() == 4
    await window_pages(plain, made)


async def window_pages(window: Window, made: list[str]) -> None:
    """Two on a page, then the last one, then back."""
    page = window.page
    await window.go("/deliveries?ticket=777&limit=2")
    seen = await links(window)
    await page.get_by_role("link", name="Older").click()
    seen += await links(window)
    assert seen == made[::-1]
    assert await page.get_by_role("link", name="Older").count() == 0
    await page.get_by_role("link", name="Newest").click()
    assert (await links(window))[0] == made[-1]


async def links(window: Window) -> list[str]:
    found = window.page.locator("tbody th a")
    return [
        str(await found.nth(n).get_attribute("href")).rpartition("/")[2]
        for n in range(await found.count())
    ]


async def test_a_wrong_filter_is_explained_and_kept(window: Window) -> None:
    window.expected.append("400")
    page = await window.sign_in("/deliveries?since=yesterday&script=ok.sh")
    assert "neither a time" in await page.get_by_role("alert").inner_text()
    assert await page.get_by_label("Received since").input_value() == "yesterday"
    assert await page.get_by_label("Script").input_value() == "ok.sh"


async def test_scripts_tell_their_state_and_their_record(plain: Window, delivery: str) -> None:
    page = await plain.sign_in("/scripts")
    broken = page.get_by_role("row", name="broken.py")
    assert "not ready" in await broken.inner_text()
    assert "no deliveries" in await broken.inner_text()
    row = await page.get_by_role("row", name="gives-up.sh").inner_text()
    assert "0%" in row
    await page.get_by_role("link", name="gives-up.sh").click()
    text = await plain.text()
    assert "retry.attempts" in text
    assert delivery in await page.content()


async def test_routes_are_explained_by_an_example(plain: Window) -> None:
    page = await plain.sign_in("/routes")
    assert "gone.py ✕ not there" in await plain.text()
    await page.get_by_label("Event", exact=True).fill("CREATE")
    await page.get_by_label("Workflow").fill("Firewall change")
    await page.get_by_role("button", name="Explain").click()
    text = await plain.text()
    assert "It goes to ok.sh." in text
    assert "event 'CREATE' is not CLOSE" in text


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_is_wide_enough(
    mediator: Mediator, browser: Browser, delivery: str, path: str, scheme: str
) -> None:
    size = {"width": 360, "height": 640}
    async with opened(mediator, browser, viewport=size, color_scheme=scheme) as window:
        page = await window.sign_in(path.format(id=delivery))
        assert await page.evaluate(
            "document.scrollingElement.scrollWidth <= document.scrollingElement.clientWidth"
        )
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) > 380
        assert light is (scheme == "light")


CONTRAST = """() => {
  const number = (c) => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * number(r) + .7152 * number(g) + .0722 * number(b);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("svg, .hidden, :disabled, noscript")) continue;
    const pair = [light(rgb(getComputedStyle(element).color)), light(ground(element))].sort();
    const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 100)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_its_ground(
    mediator: Mediator, browser: Browser, delivery: str, path: str, scheme: str
) -> None:
    async with opened(mediator, browser, color_scheme=scheme) as window:
        page = await window.sign_in(path.format(id=delivery))
        assert await page.evaluate(CONTRAST) == []


OUTLINE = """() => ({
  headings: [...document.querySelectorAll("h1, h2, h3, h4")].map((h) => Number(h.tagName[1])),
  unnamed: [...document.querySelectorAll("input:not([type=hidden]), select")]
    .filter((input) => !input.labels.length).map((input) => input.outerHTML),
  captionless: [...document.querySelectorAll("table")].filter((t) => !t.caption).length,
  scopeless: [...document.querySelectorAll("th")].filter((th) => !th.scope).length,
  twins: [...document.querySelectorAll("[id]")].map((e) => e.id)
    .filter((id, place, all) => all.indexOf(id) !== place),
  loose: [...document.querySelectorAll("[data-live]")].filter((e) => !e.id).length,
  styled: document.querySelectorAll("[style], style, [onclick]").length,
})"""


@pytest.mark.parametrize("path", PAGES)
async def test_a_screen_reader_finds_its_way(window: Window, delivery: str, path: str) -> None:
    page = await window.sign_in(path.format(id=delivery))
    outline = await page.evaluate(OUTLINE)
    headings = outline.pop("headings")
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    empty = {"unnamed": [], "captionless": 0, "scopeless": 0, "twins": [], "loose": 0, "styled": 0}
    assert outline == empty
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert await page.get_by_role(landmark).first.is_visible(), landmark
    assert await page.locator("html").get_attribute("lang") == "en"
    current = page.get_by_role("navigation", name="Console").locator("[aria-current]")
    assert await current.count() == 1


async def test_the_keyboard_alone_is_enough(window: Window, delivery: str) -> None:
    page = await window.sign_in(f"/deliveries/{delivery}")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert await skip.evaluate("e => e === document.activeElement && e.offsetTop >= 0")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await page.keyboard.press("Tab")  # the way back to the list
    await page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert await focused.get_attribute("id") == "retry"
    outline = await focused.evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline == "solid", "the focus is seen"
    await page.keyboard.press("Enter")
    await page.wait_for_url("**told=retried")


async def test_who_prefers_no_motion_sees_none(
    mediator: Mediator, browser: Browser, client: Client
) -> None:
    handover = Handover(script="steps.py", arguments=("motion-gate", "0"))
    running = (await client.hand_over(handover)).delivery
    await client.until(running, "running")
    async with opened(mediator, browser, reduced_motion="reduce") as window:
        page = await window.sign_in(f"/deliveries/{running}")
        await eventually(page.locator(".badge.busy").first.is_visible)
        assert await page.evaluate("document.getAnimations().length") == 0
    (mediator.home / "motion-gate").touch()
    await client.until(running, "succeeded")
