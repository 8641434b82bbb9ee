"""What the console refuses, and the headers of what it answers: without a browser's kindness."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.support.mediator import OPERATOR, VIEWER, Client, Handover, Mediator

pytestmark = pytest.mark.asyncio(loop_scope="session")

OURS = {"Sec-Fetch-Site": "same-origin"}


class Visitor:
    """Somebody with a cookie, who can send what a browser would not."""

    def __init__(self, client: Client, cookie: str) -> None:
        self.client = client
        self.cookie = cookie

    async def get(self, path: str, **headers: str) -> tuple[aiohttp.ClientResponse, str]:
        return await self.call("GET", path, headers=headers)

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: object = None,
    ) -> tuple[aiohttp.ClientResponse, str]:
        async with self.client.session.request(
            method,
            f"{self.client.url}/console{path}",
            headers={"Cookie": self.cookie, **(headers or {})},
            data=data,
            allow_redirects=False,
        ) as response:
            return response, await response.text(errors="replace")

    async def form_token(self) -> str:
        _, text = await self.get("/routes")
        return text.partition('name="form" value="')[2].partition('"')[0]

    async def post(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str] = OURS
    ) -> tuple[aiohttp.ClientResponse, str]:
        return await self.call("POST", path, headers=headers, data=dict(form))


async def visitor(client: Client, token: str, **headers: str) -> tuple[Visitor, str]:
    """Signed in; and the Set-Cookie that did it."""
    nobody = Visitor(client, "")
    response, text = await nobody.post("/sign-in", {"token": token}, {**OURS, **headers})
    assert response.status == 303, text
    cookie = response.headers["Set-Cookie"]
    return Visitor(client, cookie.partition(";")[0]), cookie


@pytest_asyncio.fixture(loop_scope="session")
async def operator(client: Client) -> Visitor:
    return (await visitor(client, OPERATOR))[0]


@pytest_asyncio.fixture(loop_scope="session")
async def viewer(client: Client) -> Visitor:
    return (await visitor(client, VIEWER))[0]


@pytest_asyncio.fixture(loop_scope="session")
async def dead(client: Client) -> str:
    delivery = (await client.hand_over(Handover(script="gives-up.sh"))).delivery
    await client.until(delivery, "dead")
    return delivery


@pytest.mark.parametrize(
    "path",
    ["", "/deliveries", "/deliveries/x", "/deliveries/x/ticket.xml", "/scripts", "/scripts/ok.sh",
     "/routes", "/changes", "/deliveries/x/output", "/nowhere",
     "/deliveries/x/attempts/1/stdout.txt"],
)  # fmt: skip
@pytest.mark.parametrize(
    "cookie", ["", "mediator_session=ops.99999999999.n.m"], ids=["none", "bad"]
)
async def test_nothing_is_shown_to_strangers(client: Client, path: str, cookie: str) -> None:
    stranger = Visitor(client, cookie)
    response, text = await stranger.get(path, Accept="text/html")
    assert response.status == 303
    assert response.headers["Location"].startswith("/console/sign-in")
    assert text == ""
    response, _ = await stranger.get(path, Accept="text/event-stream")
    assert response.status == 401


@pytest.mark.parametrize("action", ["retry", "cancel"])
async def test_a_stranger_changes_nothing(client: Client, dead: str, action: str) -> None:
    response, _ = await Visitor(client, "").post(f"/deliveries/{dead}/{action}", {})
    assert response.status == 401
    assert (await client.delivery(dead))["state"] == "dead"


@pytest.mark.parametrize("action", ["retry", "cancel"])
async def test_a_viewer_changes_nothing(
    client: Client, viewer: Visitor, dead: str, action: str
) -> None:
    form = {"form": await viewer.form_token()}
    response, text = await viewer.post(f"/deliveries/{dead}/{action}", form)
    assert response.status == 403
    assert "needs a token with the role operator" in text
    assert (await client.delivery(dead))["state"] == "dead"


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        pytest.param(OURS, {}, id="without the form's token"),
        pytest.param(OURS, {"form": "0" * 64}, id="with another token"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, None, id="from another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, None, id="from a neighbour"),
        pytest.param({"Origin": "http://evil.example"}, None, id="of another origin"),
        pytest.param({}, None, id="from nowhere"),
    ],
)
async def test_a_forged_form_changes_nothing(
    client: Client,
    operator: Visitor,
    dead: str,
    headers: dict[str, str],
    form: dict[str, str] | None,
) -> None:
    sent = {"form": await operator.form_token()} if form is None else form
    for path in (f"/deliveries/{dead}/retry", f"/deliveries/{dead}/cancel", "/sign-out"):
        response, text = await operator.post(path, sent, headers)
        assert response.status == 403
        assert "does not come from a page of this console" in text
    assert (await client.delivery(dead))["state"] == "dead"


async def test_a_form_of_one_session_is_none_of_another(
    operator: Visitor, viewer: Visitor, dead: str
) -> None:
    form = {"form": await viewer.form_token()}
    response, _ = await operator.post(f"/deliveries/{dead}/retry", form)
    assert response.status == 403


async def test_nobody_is_signed_in_by_another_site(client: Client) -> None:
    nobody = Visitor(client, "")
    form = {"token": OPERATOR}
    response, _ = await nobody.post("/sign-in", form, {"Sec-Fetch-Site": "cross-site"})
    assert response.status == 403
    assert "Set-Cookie" not in response.headers


async def test_a_form_by_origin_is_enough_where_the_browser_says_no_more(
    client: Client, operator: Visitor, dead: str
) -> None:
    form = {"form": await operator.form_token()}
    response, _ = await operator.post(f"/deliveries/{dead}/retry", form, {"Origin": client.url})
    assert response.status == 303
    assert response.headers["Location"] == f"/console/deliveries/{dead}?told=retried"


async def test_a_get_changes_nothing(operator: Visitor, dead: str) -> None:
    for path in (f"/deliveries/{dead}/retry", f"/deliveries/{dead}/cancel", "/sign-out"):
        response, _ = await operator.get(path, Accept="text/html")
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


async def test_the_cookie_is_kept_from_scripts_and_other_sites(client: Client) -> None:
    _, cookie = await visitor(client, OPERATOR)
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/console", "max-age=43200"} <= parts
    assert "secure" not in parts
    assert OPERATOR not in cookie
    _, behind_tls = await visitor(client, OPERATOR, **{"X-Forwarded-Proto": "https"})
    assert "secure" in {part.strip().lower() for part in behind_tls.split(";")}


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example", "/v1/deliveries", "/consoles", "/console\\evil",
     "/console/\r\nX: y", "javascript:x", ""],
)  # fmt: skip
async def test_signing_in_leads_to_no_other_site(client: Client, onward: str) -> None:
    response, _ = await Visitor(client, "").post("/sign-in", {"token": VIEWER, "next": onward})
    assert response.headers["Location"].startswith("/console")
    assert "evil" not in response.headers["Location"]
    assert "X" not in response.headers


@pytest.mark.parametrize("path", ["", "/deliveries", "/routes", "/nowhere", "/sign-in"])
async def test_every_page_is_locked_down(operator: Visitor, path: str) -> None:
    response, _ = await operator.get(path, Accept="text/html")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"


async def test_what_never_changes_is_cached_and_needs_no_session(
    client: Client, operator: Visitor
) -> None:
    _, page = await operator.get("")
    address = page.partition('rel="stylesheet" href="/console')[2].partition('"')[0]
    response, css = await Visitor(client, "").get(address)
    assert response.status == 200
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["Content-Type"].startswith("text/css")
    assert "--accent" in css
    old, _ = await operator.get("/static/console.css?v=old")
    assert old.headers["Cache-Control"] == "no-cache"
    assert (await operator.get("/static/..%2fsessions.py"))[0].status == 404


async def test_files_are_downloads_that_run_nothing(client: Client, operator: Visitor) -> None:
    body = b"<ticket_info><id>1</id><subject>\xff?</subject></ticket_info>"
    body = body.replace(b"\xff", "\N{SNOWMAN}<script>alert(1)</script>".encode())
    delivery = (await client.hand_over(Handover(script="gives-up.sh", body=body))).delivery
    await client.until(delivery, "dead")
    address = f"{client.url}/console/deliveries/{delivery}"
    for path, expected in (
        ("/ticket.xml", body),
        ("/attempts/1/stderr.txt", b"no such firewall\n"),
    ):
        async with client.session.get(
            f"{address}{path}", headers={"Cookie": operator.cookie}
        ) as response:
            assert await response.read() == expected
            assert response.headers["Content-Disposition"].startswith("attachment; filename=")
            assert "sandbox" in response.headers["Content-Security-Policy"]
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/deliveries/none", 404),
        ("/deliveries/none/ticket.xml", 404),
        ("/deliveries/none/output", 404),
        ("/scripts/none.py", 404),
        ("/static/none.css", 404),
        ("/deliveries?state=odd", 400),
        ("/deliveries?since=yesterday", 400),
        ("/deliveries?after=x", 400),
        ("/deliveries?nonsense=1", 400),
    ],
)
async def test_errors_are_pages_with_a_sentence(operator: Visitor, path: str, status: int) -> None:
    response, text = await operator.get(path, Accept="text/html")
    assert response.status == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert "<h1>" in text


async def test_a_slash_too_many_does_no_harm(operator: Visitor) -> None:
    response, _ = await operator.get("/", Accept="text/html")
    assert response.headers["Location"] == "/console"


async def test_a_form_that_is_none_is_refused(operator: Visitor, dead: str) -> None:
    path = f"/deliveries/{dead}/retry"
    response, _ = await operator.call("POST", path, headers=OURS, data=b"{}")
    assert response.status == 400
    response, _ = await operator.post(path, {"form": "x" * 20_000})
    assert response.status == 413


async def test_what_cannot_be_done_any_more_is_said(operator: Visitor, dead: str) -> None:
    form = {"form": await operator.form_token()}
    response, text = await operator.post(f"/deliveries/{dead}/cancel", form)
    assert response.status == 409
    assert "has already ended" in text


async def test_guessing_is_stopped_for_a_while(tmp_path: Path) -> None:
    with Mediator(tmp_path) as mediator:
        async with Client(mediator.url) as client:
            nobody = Visitor(client, "")
            statuses = []
            for _ in range(12):
                response, _ = await nobody.post("/sign-in", {"token": "wrong"})
                statuses.append(response.status)
            assert statuses == [401] * 10 + [429] * 2
            assert int(response.headers["Retry-After"]) > 0
            response, text = await nobody.post("/sign-in", {"token": OPERATOR})
            assert response.status == 429
            assert "wait" in text
            assert (await client.get("/v1/deliveries")).status == 200, "the API is not affected"


async def test_it_can_be_turned_off(tmp_path: Path) -> None:
    with Mediator(tmp_path, {"http": {"port": 0, "console": False}}) as mediator:
        async with Client(mediator.url) as client:
            for path in ("/", "/console", "/console/sign-in"):
                assert (await client.get(path)).status == 404


async def test_without_tokens_it_says_what_to_do(tmp_path: Path) -> None:
    with Mediator(tmp_path, {"auth": {"tokens": []}}) as mediator:
        async with Client(mediator.url) as client:
            _, text = await Visitor(client, "").get("/sign-in")
            assert "mediator new-key" in text
            assert "<form" not in text


async def test_a_restart_and_a_replica_know_the_session(tmp_path: Path) -> None:
    with Mediator(tmp_path) as mediator:
        async with Client(mediator.url) as client:
            cookie = (await visitor(client, VIEWER))[0].cookie
    with mediator:
        async with Client(mediator.url) as client:
            assert (await Visitor(client, cookie).get("/routes"))[0].status == 200
    (tmp_path / "viewer.token").write_text("w" * 40)
    with mediator:
        async with Client(mediator.url) as client:
            assert (await Visitor(client, cookie).get("/routes", Accept="text/html"))[
                0
            ].status == 303
