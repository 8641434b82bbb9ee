"""A small intake for the shim's tests: verifies each request by the mediator's library.

Run as `intake.py DIRECTORY [--tls CERTIFICATE KEY]`; the file `url` there says where it listens.
What comes before /v1/ in a request's path names a folder in the directory, so that tests running at
once do not meet. For its request N the folder gets `N.json` (what was received) and `N.body` (its
bytes). A test can put the file `answers` there before: one JSON object a line, used up one after
another, the last one for ever; without the file the answer is 202:
{"status": 200, "headers": {...}, "body": "latin-1 text", "chunked": true}
"""

import argparse
import asyncio
import json
import ssl
import warnings
from collections import Counter
from pathlib import Path

from aiohttp import web
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    algorithms,
)
from http_message_signatures.resolvers import MappingKeyResolver

KEY_ID = "securechange"
KEY = "grün-geheim-0123456789-0123456789-0123456789"
COVERED = ("@method", "@request-target", "content-digest", "idempotency-key")


class Received:
    """The request as the library wants it, with the target as it came over the wire."""

    def __init__(self, request: web.Request) -> None:
        self.method = request.method
        self.url = str(request.url)
        self.headers = request.headers
        self.request_target = request.raw_path


def verify(request: web.Request, body: bytes) -> dict[str, object]:
    """Return the signature's parameters; raise if it does not cover exactly what it must."""
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithms.HMAC_SHA256,
        key_resolver=MappingKeyResolver(public_keys={KEY_ID: KEY.encode()}, private_keys={}),
    )
    (result,) = verifier.verify(Received(request), body=body, expect_tag="mediator")
    covered = [
        name.strip('"') for name in result.covered_components if name != '"@signature-params"'
    ]
    if tuple(covered) != COVERED:
        raise ValueError(f"covered components are {covered}")
    return {name: str(value) for name, value in result.parameters.items()}


class Intake:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.counts: Counter[Path] = Counter()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Record one request and answer it as the test has asked for."""
        body = await request.read()
        record: dict[str, object] = {
            "method": request.method,
            "target": request.raw_path,
            "query": [[name, value] for name, value in request.query.items()],
            "headers": {name.lower(): value for name, value in request.headers.items()},
        }
        try:
            record["signature"] = verify(request, body)
        except (HTTPMessageSignaturesException, ValueError) as error:
            record["refused"] = repr(error)
        folder = self.directory / request.path.partition("/v1/")[0].strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        self.counts[folder] += 1
        (folder / f"{self.counts[folder]}.body").write_bytes(body)
        (folder / f"{self.counts[folder]}.json").write_text(json.dumps(record))
        if "refused" in record:
            return web.Response(status=401, text=str(record["refused"]))
        return await self.answer(request, folder)

    async def answer(self, request: web.Request, folder: Path) -> web.StreamResponse:
        """Answer as the next line of the folder's `answers` says."""
        answers = folder / "answers"
        if not answers.exists():
            return web.Response(
                status=202, headers={"Mediator-Delivery": f"d-{self.counts[folder]}"}
            )
        lines = answers.read_text().splitlines()
        wanted = json.loads(lines[0])
        if len(lines) > 1:
            answers.write_text("\n".join(lines[1:]))
        body = wanted.get("body", "").encode("latin-1")
        if not wanted.get("chunked"):
            return web.Response(status=wanted["status"], headers=wanted.get("headers"), body=body)
        response = web.StreamResponse(status=wanted["status"], headers=wanted.get("headers"))
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(body), 1000):
            await response.write(body[start : start + 1000])
        await response.write_eof()
        return response


async def alive(_: web.Request) -> web.Response:
    """Answer what GET /livez does."""
    return web.Response(text="ok")


async def show_key(request: web.Request) -> web.Response:
    """Answer what GET /v1/key does."""
    try:
        return web.json_response({"key": verify(request, b"")["keyid"], "scripts": None})
    except (HTTPMessageSignaturesException, ValueError) as error:
        return web.json_response(
            {"detail": repr(error)}, status=401, content_type="application/problem+json"
        )


async def serve(directory: Path, tls: list[str] | None) -> None:
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_get("/{tail:.*livez}", alive)
    app.router.add_get("/{tail:.*}/v1/key", show_key)
    app.router.add_get("/v1/key", show_key)
    app.router.add_post("/{tail:.*}", Intake(directory).take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    _, port = runner.addresses[0]
    (directory / "url.new").write_text(f"{'https' if tls else 'http'}://127.0.0.1:{port}")
    (directory / "url.new").rename(directory / "url")
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tls", nargs=2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    asyncio.run(serve(arguments.directory, arguments.tls))


if __name__ == "__main__":
    main()
