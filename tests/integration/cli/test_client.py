"""The client of the operator commands, against servers that are no mediator or fail."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from mediator.cli.client import connect
from mediator.cli.failures import Failure, RequestRefused
from mediator.cli.target import Target
from mediator.errors import SettingsError
from mediator.settings.secrets import Secret

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Target]:
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handler)
    async with TestServer(application) as server:
        yield Target(url=str(server.make_url("")).rstrip("/"), token=Secret("t" * 40))


async def get(target: Target, path: str = "/v1/scripts") -> object:
    async with connect(target) as mediator:
        return await mediator.get(path)


async def failure(handler: Handler) -> Failure:
    async with serving(handler) as target:
        with pytest.raises(Failure) as caught:
            await get(target)
    return caught.value


async def test_a_page_for_people_is_no_answer_of_a_mediator() -> None:
    async def page(request: web.Request) -> web.Response:
        del request
        return web.Response(text="<html>Hello</html>", content_type="text/html")

    found = await failure(page)
    assert found.exit_code == 1
    assert "something else may listen" in str(found)


@pytest.mark.parametrize(
    ("status", "body", "said", "code"),
    [
        pytest.param(404, "<html>", "status 404 and no reason; is it a mediator?", 1, id="HTML"),
        pytest.param(502, '["x"]', "status 502 and no reason", 75, id="a list"),
        pytest.param(503, '{"detail": "It drains."}', "It drains.", 75, id="a problem"),
        pytest.param(401, '{"detail": 7}', "status 401 and no reason", 77, id="no sentence"),
    ],
)
async def test_the_sentence_of_a_problem_is_what_is_told(
    status: int, body: str, said: str, code: int
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status, text=body)

    found = await failure(refuse)
    assert isinstance(found, RequestRefused)
    assert said in str(found)
    assert found.exit_code == code
    assert found.answered == status


async def test_a_token_follows_no_redirection() -> None:
    seen: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    assert "status 302" in str(await failure(redirect))
    assert seen == ["/v1/scripts"]


async def test_a_connection_that_is_cut_is_unreachable() -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    found = await failure(cut)
    assert found.exit_code == 75
    assert "cannot be reached" in str(found)


async def test_a_mediator_that_does_not_answer_is_unreachable() -> None:
    ended = asyncio.Event()

    async def stall(request: web.Request) -> web.Response:
        del request
        await ended.wait()
        return web.Response()

    async with serving(stall) as target, connect(target) as mediator:
        with pytest.raises(Failure, match="did not answer in time") as caught:
            await mediator.exchange("GET", "/", headers={}, seconds=0.05)
        ended.set()
    assert caught.value.exit_code == 75


@pytest.mark.parametrize(
    ("host", "why"),
    [
        pytest.param("127.0.0.1", "connection refused", id="nobody listens"),
        pytest.param("mediator.invalid", "its host name is unknown here", id="no such host"),
    ],
)
async def test_why_nothing_is_there_is_said_in_a_few_words(host: str, why: str) -> None:
    url = f"http://{host}:{unused_port()}"
    with pytest.raises(Failure) as caught:
        await get(Target(url=url))
    assert caught.value.exit_code == 75
    assert str(caught.value).startswith(f"the mediator at {url} cannot be reached ({why}): ")
    assert "`mediator serve`" in str(caught.value)


async def test_what_is_sent_is_the_bearer_token_and_the_path_as_it_is() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response([request.raw_path, request.headers["Authorization"]])

    async with serving(echo) as target, connect(target) as mediator:
        bearer = {"Authorization": f"Bearer {'t' * 40}"}
        answer = await mediator.exchange("GET", "/a%2Fb?c=%C3%A9+d", headers=bearer)
    assert answer.body.decode() == f'["/a%2Fb?c=%C3%A9+d", "Bearer {"t" * 40}"]'


async def test_certificates_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    junk = tmp_path / "ca.pem"
    junk.write_text("no certificate")
    for path in (junk, tmp_path / "gone.pem"):
        with pytest.raises(SettingsError, match=f"--ca-file: {path}"):
            await get(Target(url="https://127.0.0.1:1", ca_file=path))


async def test_https_is_verified(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    process = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-keyout", own, "-out", tmp_path / "ca.pem", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "ca.pem", own)

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.json_response({"items": []})

    application = web.Application()
    application.router.add_get("/v1/scripts", answer)
    server = TestServer(application, host="localhost", scheme="https")
    await server.start_server(ssl=context)
    try:
        url = str(server.make_url("")).rstrip("/")
        assert await get(Target(url=url, ca_file=tmp_path / "ca.pem")) == {"items": []}
        with pytest.raises(Failure, match="its certificate is not trusted") as caught:
            await get(Target(url=url))
    finally:
        await server.close()
    assert caught.value.exit_code == 75
