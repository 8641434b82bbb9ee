"""A script is found by name in the catalog; no path is ever made from a request."""

from __future__ import annotations

import pytest

from tests.support.mediator import Client, Handover, Mediator
from tests.support.sockets import exchange, head


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param("no-such-script", 404, id="unknown"),
        pytest.param("asleep.py", 409, id="not executable"),
        pytest.param("broken.py", 409, id="no interpreter"),
        pytest.param("..", 404, id="the directory above"),
        pytest.param(".", 404, id="the directory"),
        pytest.param("../outside.py", 404, id="outside, the slash encoded"),
        pytest.param("../../../../../../bin/sh", 404, id="far outside"),
        pytest.param("/bin/sh", 404, id="absolute"),
        pytest.param("notify.py\x00.sh", 404, id="NUL byte"),
        pytest.param("notify.py/", 404, id="slash behind"),
        pytest.param("x" * 300, 404, id="300 characters"),
        pytest.param("notify.py\r\nX-Evil: 1", 404, id="line break"),
        pytest.param("nötify", 404, id="not ASCII"),
        pytest.param("{script}", 404, id="braces"),
        pytest.param("*", 404, id="star"),
        pytest.param("NOTIFY.PY", 404, id="upper case"),
    ],
)
async def test_only_a_script_of_the_catalog_is_found(
    client: Client, script: str, status: int
) -> None:
    answer = await client.hand_over(Handover(script=script))
    assert answer.status == status, answer
    if status == 409:
        assert script in answer.detail


@pytest.mark.parametrize(
    "path",
    [
        "/v1/scripts/%2e%2e/deliveries",
        "/v1/scripts/../../outside.py/deliveries",
        "/v1/scripts/%2e%2e%2foutside.py/deliveries",
        "/v1/scripts/..%5coutside.py/deliveries",
        "/v1/scripts/%252e%252e%252foutside.py/deliveries",
        "/v1/scripts/notify.py%00/deliveries",
        "/v1/scripts/notify.py/../ok.sh/deliveries",
        "/v1/scripts//deliveries",
        "/v1/scripts/%ff%fe/deliveries",
        "/v1/scripts/notify.py%2fdeliveries",
        "//v1/scripts/notify.py/deliveries",
        "/v1/scripts/notify.py/deliveries/",
    ],
)
async def test_no_spelling_of_a_path_leads_out_of_the_catalog(shared: Mediator, path: str) -> None:
    handover = Handover(path=path)
    headers = [*handover.signed().items(), ("Content-Length", str(len(handover.body)))]
    answer = await exchange(shared.url, head("POST", handover.target, headers), handover.body)
    assert answer.status in {404, 405}, answer
    assert answer.problem()["detail"]


async def test_an_unknown_script_is_answered_with_those_there_are(client: Client) -> None:
    answer = await client.hand_over(Handover(script="notfy"))
    assert "notify" in answer.detail
    assert "ok.sh" in answer.detail


@pytest.mark.parametrize("script", ["notify.py", "notify"])
async def test_a_script_is_found_by_its_file_name_and_without_suffix(
    client: Client, script: str
) -> None:
    answer = await client.hand_over(Handover(script=script, arguments=[script]))
    assert answer.status == 202
    assert (await client.delivery(answer.delivery))["script"] == "notify.py"


async def test_hostile_names_make_no_series_of_metrics(client: Client) -> None:
    for n in range(20):
        await client.hand_over(Handover(script=f'evil{n}"}} 1\n'))
    page = (await client.get("/metrics", token=None)).body
    assert b"evil" not in page
