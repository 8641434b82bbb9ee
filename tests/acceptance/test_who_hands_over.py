"""Nobody without the secret hands anything over, and every refusal says why and is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from mediator.model.signatures import Key
from tests.support.mediator import KEY, Answer, Client, Handover, Mediator
from tests.support.scripts import OK, TELL

Spoil = Callable[[str, bytes, dict[str, str]], tuple[str, bytes, dict[str, str]]]


def of_body(target: str, body: bytes, headers: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
    return target, bytes([*body[:-1], body[-1] ^ 1]), headers


def of_argument(
    target: str, body: bytes, headers: dict[str, str]
) -> tuple[str, bytes, dict[str, str]]:
    return target.replace("arg=one", "arg=onf"), body, headers


def of_script(
    target: str, body: bytes, headers: dict[str, str]
) -> tuple[str, bytes, dict[str, str]]:
    return target.replace("/notify.py/", "/tell.py/"), body, headers


def of_event(
    target: str, body: bytes, headers: dict[str, str]
) -> tuple[str, bytes, dict[str, str]]:
    return target.replace("CREATE", "CREATF"), body, headers


def of_key(target: str, body: bytes, headers: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
    return target, body, {**headers, "Idempotency-Key": "another"}


def of_digest(
    target: str, body: bytes, headers: dict[str, str]
) -> tuple[str, bytes, dict[str, str]]:
    return target, body, {**headers, "Content-Digest": "md5=:AAAA:"}


def all_of_it(target: str, body: bytes, _: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
    return target, body, {}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(of_body, "digest", id="a byte of the body"),
        pytest.param(of_argument, "mismatch", id="a byte of an argument"),
        pytest.param(of_script, "mismatch", id="the script"),
        pytest.param(of_event, "mismatch", id="the event"),
        pytest.param(of_key, "mismatch", id="the idempotency key"),
        pytest.param(of_digest, "malformed", id="the digest"),
        pytest.param(all_of_it, "missing", id="no signature at all"),
    ],
)
async def test_what_was_changed_on_the_way_is_refused(
    client: Client, spoil: Spoil, reason: str
) -> None:
    handover = Handover(arguments=["one"])
    target, body, headers = spoil(handover.target, handover.body, handover.signed())
    before = await client.sample("mediator_signature_failures_total", reason=reason)
    answer = await client.send(target, body, headers)
    assert answer.status == 401, answer
    assert answer.headers["WWW-Authenticate"] == "Signature"
    assert answer.detail
    after = await client.sample("mediator_signature_failures_total", reason=reason)
    assert after >= before + 1


@pytest.mark.parametrize(
    ("age", "reason", "named"),
    [
        pytest.param(400, "expired", "400 seconds", id="signed long ago"),
        pytest.param(-400, "future", "seconds ahead", id="signed in the future"),
    ],
)
async def test_a_signature_of_another_time_is_refused_and_names_the_difference(
    client: Client, age: int, reason: str, named: str
) -> None:
    handover = Handover(created=datetime.now(UTC) - timedelta(seconds=age))
    before = await client.sample("mediator_signature_failures_total", reason=reason)
    answer = await client.hand_over(handover)
    assert answer.status == 401
    assert named.removeprefix("400 ") in answer.detail
    assert await client.sample("mediator_signature_failures_total", reason=reason) > before


@pytest.mark.parametrize("age", [250, -250])
async def test_a_clock_that_is_a_little_off_does_no_harm(client: Client, age: int) -> None:
    created = datetime.now(UTC) - timedelta(seconds=age)
    handover = Handover(script="ok.sh", arguments=[str(age)], created=created)
    assert (await client.hand_over(handover)).status == 202


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        pytest.param(Key(id="nobody", secret=KEY.secret), "unknown_key", id="unknown key"),
        pytest.param(Key(id=KEY.id, secret=b"x" * 40), "mismatch", id="another secret"),
    ],
)
async def test_another_key_is_refused(client: Client, key: Key, reason: str) -> None:
    before = await client.sample("mediator_signature_failures_total", reason=reason)
    answer = await client.hand_over(Handover(key=key))
    assert answer.status == 401
    assert await client.sample("mediator_signature_failures_total", reason=reason) > before


async def test_an_unsigned_request_learns_nothing_about_the_scripts(client: Client) -> None:
    details = set()
    for script in ("notify.py", "no-such-script", "asleep.py"):
        answer = await client.send(Handover(script=script).target, b"", {})
        assert answer.status == 401
        details.add(answer.detail)
    assert len(details) == 1


@pytest.fixture(scope="module")
def two_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mediator]:
    """A mediator with two keys, of which one may hand over to one script only."""
    keys = [
        {"id": KEY.id, "secret_file": "securechange.key"},
        {"id": "narrow", "secret_file": "narrow.key", "scripts": ["notify.py"]},
    ]
    mediator = Mediator(tmp_path_factory.mktemp("keys"), settings={"auth": {"keys": keys}})
    (mediator.home / "narrow.key").write_text("n" * 40 + "\n")
    (mediator.home / "narrow.key").chmod(0o600)
    mediator.script("notify.py", TELL)
    mediator.script("ok.sh", OK)
    with mediator:
        yield mediator


@pytest.fixture
async def several(two_keys: Mediator) -> AsyncIterator[Client]:
    """Talks to it."""
    async with Client(two_keys.url) as client:
        yield client


async def kept(client: Client) -> list[str]:
    """The ids of all that was handed over to it."""
    items = (await client.get("/v1/deliveries?limit=500")).json()["items"]
    return [item["id"] for item in items]


NARROW = Key(id="narrow", secret=b"n" * 40)


async def test_both_keys_open_while_one_is_replaced_by_the_other(several: Client) -> None:
    for key in (KEY, NARROW):
        answer = await several.hand_over(Handover(key=key, arguments=[key.id]))
        assert answer.status == 202
        assert (await several.delivery(answer.delivery))["key"] == key.id


async def ask_about(client: Client, key: Key, *, body: bytes = b"") -> Answer:
    """GET /v1/key, as the shim's self-test does."""
    asked = Handover(path="/v1/key", query="", body=body, key=key)
    return await client.call("GET", "/v1/key", token=None, headers=asked.signed("GET"))


async def test_a_key_can_be_tried_out_without_handing_anything_over(several: Client) -> None:
    before = await kept(several)
    found = [(await ask_about(several, key)).json() for key in (KEY, NARROW)]
    assert found == [
        {"key": KEY.id, "scripts": None},
        {"key": "narrow", "scripts": ["notify.py"]},
    ]
    assert await kept(several) == before


async def test_trying_out_a_wrong_key_says_why_and_counts_as_no_hand_over(several: Client) -> None:
    before = await several.sample("mediator_signature_failures_total", reason="mismatch")
    answer = await ask_about(several, Key(id=KEY.id, secret=b"x" * 40))
    assert answer.status == 401
    assert "the secret of key 'securechange' differs" in answer.detail
    assert (await several.call("GET", "/v1/key", token=None)).status == 401
    after = await several.sample("mediator_signature_failures_total", reason="mismatch")
    assert after == before


@pytest.mark.parametrize("script", ["ok.sh", "ok", "no-such-script"])
async def test_a_key_for_some_scripts_opens_no_other(several: Client, script: str) -> None:
    before = await kept(several)
    answer = await several.hand_over(Handover(script=script, key=NARROW))
    assert answer.status == 403
    assert "narrow" in answer.detail
    assert await kept(several) == before


async def test_the_idempotency_key_of_one_key_says_nothing_about_another(several: Client) -> None:
    first = await several.hand_over(Handover(idempotency_key="same", arguments=["a"]))
    other = await several.hand_over(Handover(key=NARROW, idempotency_key="same", arguments=["b"]))
    assert (first.status, other.status) == (202, 202)
    assert first.delivery != other.delivery
