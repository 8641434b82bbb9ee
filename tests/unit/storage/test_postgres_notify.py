"""What mediators tell each other: packed, unpacked, and whatever else comes on the channel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mediator.storage.notices import Notices
from mediator.storage.postgres_notify import LARGEST, PostgresNotices, payloads


async def _unused(_: str) -> Any:
    raise AssertionError("nothing is sent, and nobody listens")


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def elsewhere(notices: Notices) -> PostgresNotices:
    return PostgresNotices(notices, name="me", send=_unused, listen=_unused)


def told(name: str, *items: Any) -> str:
    (payload,) = payloads(name, [json.dumps(item) for item in items])
    return payload


def test_no_notice_is_larger_than_the_server_takes() -> None:
    items = [json.dumps(["ended", f"{n:036d}"]) for n in range(1000)]
    packed = list(payloads("me", items))
    assert len(packed) < 15
    assert all(len(payload.encode()) <= LARGEST + 100 for payload in packed)
    unpacked = [item for payload in packed for item in json.loads(payload)[1:]]
    assert unpacked == [json.loads(item) for item in items]


def test_what_another_tells_is_passed_on(elsewhere: PostgresNotices, notices: Notices) -> None:
    stopped: list[str] = []
    asked: list[tuple[str, bool]] = []

    def wanted(script: str, interactive: bool) -> bool:
        asked.append((script, interactive))
        return True

    notices.on_stop(stopped.append)
    notices.want(wanted)
    with notices.watch("d1") as ended:
        elsewhere.heard(told("you", ["work", "a.py", True], ["ended", "d1"], ["stop", "d2"]))
        assert ended.is_set()
    assert (asked, stopped) == ([("a.py", True)], ["d2"])


def test_ones_own_notices_are_no_news(elsewhere: PostgresNotices, notices: Notices) -> None:
    with notices.watch("d1") as ended:
        elsewhere.heard(told("me", ["ended", "d1"]))
        assert not ended.is_set()


@pytest.mark.parametrize(
    "payload",
    ["", "nonsense", "[]", "7", '["you", ["work"]]', '["you", 7]', '["you", ["later", 1, 2]]'],
)
def test_what_nobody_understands_harms_nobody(elsewhere: PostgresNotices, payload: str) -> None:
    elsewhere.heard(payload)
