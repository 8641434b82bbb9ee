"""What is asked again, and what is not, of a server that has its troubles."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.kube.client import KubernetesError, with_retry
from tests.integration.kube.support import Script, broken, client_of, listed, refused


async def test_a_call_is_made_again_until_there_is_an_answer(tmp_path: Path) -> None:
    script = Script([refused(429), refused(500), broken, listed(5, "a")])
    async with client_of(script, tmp_path) as client:
        found = await with_retry(lambda: client.get(client.jobs(), labelSelector="app=x"))
    assert [item["metadata"]["name"] for item in found["items"]] == ["a"]
    assert len(script.done) == 4


async def test_what_is_refused_for_good_is_not_asked_again(tmp_path: Path) -> None:
    script = Script([refused(403)])
    async with client_of(script, tmp_path) as client:
        with pytest.raises(KubernetesError, match="403") as caught:
            await with_retry(lambda: client.get(client.jobs()))
    assert len(script.done) == 1
    assert (caught.value.code, caught.value.transient) == (403, False)


async def test_a_long_list_comes_in_pages(tmp_path: Path) -> None:
    script = Script([listed(5, "a", "b", more="x"), listed(5, "c", after="x")])
    async with client_of(script, tmp_path) as client:
        items, version = await client.list(client.jobs(), labelSelector="app=x")
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "c"]
    assert version == "5"
