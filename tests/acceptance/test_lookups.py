"""Looking by the operator API: who may, and what is found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.mediator import OPERATOR, VIEWER, Client, Handover, Mediator
from tests.support.scripts import OK, interactive

READS = ["/v1/deliveries", "/v1/deliveries/1", "/v1/scripts", "/v1/scripts/ok.sh"]
WRITES = ["/v1/deliveries/1/retry", "/v1/deliveries/1/cancel"]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """A running mediator that is only looked at."""
    mediator = Mediator(tmp_path_factory.mktemp("looked"))
    mediator.script("ok.sh", OK)
    mediator.script("gives-up.sh", "#!/bin/sh\nexit 77\n")
    mediator.script("condition.py", interactive("print('yes')"))
    with mediator:
        yield mediator


@pytest.fixture
async def client(looked: Mediator) -> AsyncIterator[Client]:
    """Talks to it."""
    async with Client(looked.url) as client:
        yield client


class TestTokens:
    @pytest.mark.parametrize(
        ("token", "read", "write"),
        [
            pytest.param(OPERATOR, {200, 404}, 404, id="operator"),
            pytest.param(VIEWER, {200, 404}, 403, id="viewer"),
            pytest.param(None, {401}, 401, id="none"),
            pytest.param("x" * 40, {401}, 401, id="wrong"),
            pytest.param(OPERATOR[:-1], {401}, 401, id="shorter"),
            pytest.param(OPERATOR + "o", {401}, 401, id="longer"),
            pytest.param("", {401}, 401, id="empty"),
            pytest.param("tökén" * 10, {401}, 401, id="not ASCII"),
        ],
    )
    async def test_a_token_opens_what_its_role_allows(
        self, client: Client, token: str | None, read: set[int], write: int
    ) -> None:
        for path in READS:
            answer = await client.get(path, token=token)
            assert answer.status in read, path
            if answer.status == 401:
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert answer.detail
        for path in WRITES:
            answer = await client.post(path, token=token)
            assert answer.status == write, path
            assert answer.detail

    async def test_what_needs_no_token_needs_none(self, client: Client) -> None:
        for path in ("/livez", "/readyz", "/metrics", "/v1/openapi.json"):
            assert (await client.get(path, token=None)).status == 200

    async def test_a_basic_password_is_no_token(self, client: Client) -> None:
        headers = {"Authorization": f"Basic {OPERATOR}"}
        async with client.session.get(f"{client.url}/v1/scripts", headers=headers) as response:
            assert response.status == 401

    async def test_a_token_that_is_refused_is_logged_without_it(
        self, looked: Mediator, client: Client
    ) -> None:
        await client.get("/v1/deliveries", token="t0k3n" * 10)
        await client.post(WRITES[0], token=VIEWER)
        statuses = [line["status"] for line in looked.events("request refused")]
        assert statuses[-2:] == [401, 403]
        assert "t0k3n" not in looked.log()

    async def test_without_tokens_the_api_is_closed(self, tmp_path: Path) -> None:
        mediator = Mediator(tmp_path / "closed", settings={"auth": {"tokens": []}})
        with mediator:
            async with Client(mediator.url) as client:
                answer = await client.get("/v1/deliveries", token="")
                assert answer.status == 401
                assert "auth.tokens" in answer.detail


class TestSearching:
    @pytest.fixture
    async def ids(self, client: Client) -> dict[str, str]:
        """Deliveries by a name of their own; handed over again they are the same ones."""
        found = {}
        for name, script, event, ticket in (
            ("a", "ok", "CREATE", "1"),
            ("b", "ok", "ADVANCE", "2"),
            ("c", "gives-up", "CREATE", "2"),
            ("d", "condition", "CREATE", "3"),
        ):
            body = f"<ticket_info><id>{ticket}</id></ticket_info>".encode()
            answer = await client.hand_over(
                Handover(script=script, event=event, body=body, idempotency_key=name)
            )
            found[name] = answer.delivery
            await client.until(answer.delivery, "succeeded", "dead")
        return found

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", "dcba"),
            ("script=ok.sh", "ba"),
            ("event=CREATE", "dca"),
            ("state=dead", "c"),
            ("state=succeeded", "dba"),
            ("state=pending", ""),
            ("ticket=2", "cb"),
            ("ticket=2&event=ADVANCE", "b"),
            ("since=1h", "dcba"),
            ("until=1h", ""),
            ("since=2020-01-01T00:00:00Z", "dcba"),
            ("since=2020-01-01T00:00:00%2B01:00", "dcba"),
            ("since=2020-01-01T00:00:00+01:00", "dcba"),
            ("until=2020-01-01", ""),
            ("script=none", ""),
            ("limit=2", "dc"),
        ],
    )
    async def test_every_filter_finds_what_it_says(
        self, client: Client, ids: dict[str, str], query: str, names: str
    ) -> None:
        answer = await client.get(f"/v1/deliveries?{query}")
        assert answer.status == 200, answer
        items = answer.json()["items"]
        assert [item["id"] for item in items] == [ids[name] for name in names]
        for item in items:
            assert item["attempts"][0]["outcome"] in {"ok", "failed"}
            assert item["attempts"][0]["stdout"] is None, "a list comes without outputs"

    async def test_pages_follow_each_other_without_gap_or_repeat(
        self, client: Client, ids: dict[str, str]
    ) -> None:
        seen: list[str] = []
        after = ""
        for _ in range(2):
            page = (await client.get(f"/v1/deliveries?limit=2{after}")).json()
            seen += [item["id"] for item in page["items"]]
            after = f"&after={page['next']}"
        assert seen == [ids[name] for name in "dcba"]
        assert page["next"] is None, "the last page says so"

    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ("stat=dead", "stat"),
            ("state=asleep", "asleep"),
            ("since=yesterday", "yesterday"),
            ("until=2020-13-01", "2020-13-01"),
            ("since=99999999999d", "since"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=-1", "limit"),
            ("limit=ten", "limit"),
            ("after=x", "after"),
            ("after=99999999999999999999", "after"),
            ("script=a&script=b", "script"),
        ],
    )
    async def test_a_mistake_in_the_query_is_named(
        self, client: Client, query: str, named: str
    ) -> None:
        answer = await client.get(f"/v1/deliveries?{query}")
        assert answer.status == 400
        assert named in answer.detail

    @pytest.mark.parametrize("text", ["%FF", "%00", "%ED%B3%BF", "%27%20OR%201=1", "%25"])
    async def test_no_text_in_a_filter_is_a_mistake_of_ours(
        self, client: Client, text: str
    ) -> None:
        for key in ("script", "event", "ticket"):
            answer = await client.get(f"/v1/deliveries?{key}={text}")
            assert (answer.status, answer.json()["items"]) == (200, [])
        assert (await client.get(f"/v1/deliveries/{text}")).status == 404
        assert (await client.get(f"/v1/scripts/{text}")).status == 404


class TestScripts:
    async def test_a_script_shows_its_policy_in_the_list_and_alone(self, client: Client) -> None:
        document = (await client.get("/v1/scripts/condition")).json()
        assert document["policy"]["kind"] == "condition"
        listed = (await client.get("/v1/scripts")).json()["items"]
        assert document in listed
        assert [script["name"] for script in listed] == [
            "condition.py",
            "gives-up.sh",
            "ok.sh",
        ]

    async def test_values_of_the_environment_are_hidden(self, tmp_path: Path) -> None:
        mediator = Mediator(
            tmp_path / "env", settings={"policies": {"ok.sh": {"env": {"PASS": "s3cr3t"}}}}
        )
        mediator.script("ok.sh", OK)
        with mediator:
            async with Client(mediator.url) as client:
                answer = await client.get("/v1/scripts/ok.sh")
        assert answer.json()["policy"]["env"] == {"PASS": "(hidden)"}
        assert b"s3cr3t" not in answer.body
