"""A client of a running mediator's HTTP API; what goes wrong is one sentence."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from mediator.cli.failures import NOT_NOW, USAGE, Failure, RequestRefused
from mediator.cli.target import Target
from mediator.errors import SettingsError

_CONNECT = 10.0
"""Seconds to get a connection."""
_ANSWER = 60.0
"""Seconds for a whole answer of the operator API."""
_SILENCE = 60.0
"""Seconds without any event; a mediator sends a sign of life every ten."""

LARGEST_PAGE = 500
"""Deliveries that the operator API gives at once."""
_STRANGER = "the answer is not one of a mediator, so something else may listen at this URL:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the mediator answered, with a status below 400."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The JSON object in it. Raises `Failure` when there is none: it is no mediator."""
        found = _object(self.body)
        if found is None:
            raise Failure(f"{_STRANGER} it is not JSON.")
        return found

    def header(self, name: str) -> str:
        """A header that every mediator sends here. Raises `Failure` when it is not there."""
        if name not in self.headers:
            raise Failure(f"{_STRANGER} it has no header {name}.")
        return self.headers[name]


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[MediatorClient]:
    """Open a connection for several calls. Raises `SettingsError` for a bad certificate file."""
    connector = aiohttp.TCPConnector(ssl=_trust(target))
    async with aiohttp.ClientSession(connector=connector, auto_decompress=True) as session:
        yield MediatorClient(session, target)


class MediatorClient:
    """Calls to one mediator.

    Each raises `RequestRefused`, or `Failure` when it cannot be reached.
    """

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._target = target

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The document at `path` of the operator API."""
        target = f"{path}?{urlencode(query)}" if query else path
        return (await self.exchange("GET", target, headers=self._bearer())).document()

    async def post(self, path: str) -> dict[str, Any]:
        """Have the operator API do something; the document it answers."""
        return (await self.exchange("POST", path, headers=self._bearer())).document()

    async def exchange(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        seconds: float = _ANSWER,
    ) -> Answer:
        """One request and its answer; `target` is sent exactly as it is, `seconds` are for all."""
        url = URL(self._target.url + target, encoded=True)
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT)
        try:
            async with self._session.request(
                method, url, headers=headers, data=body, timeout=timeout, allow_redirects=False
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        if response.status >= 300:
            raise self._refused(response.status, content)
        return Answer(status=response.status, headers=response.headers, body=content)

    async def events(self, target: str) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """Server-sent events, each with its name and its document, until the mediator ends them."""
        url = URL(self._target.url + target, encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
        try:
            async with self._session.get(
                url, headers=self._bearer(), timeout=timeout, allow_redirects=False
            ) as response:
                if response.status >= 300:
                    raise self._refused(response.status, await response.read())
                async for event in _events(response.content):
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    def _bearer(self) -> dict[str, str]:
        token = self._target.token
        return {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}

    def _refused(self, status: int, body: bytes) -> RequestRefused:
        detail = (_object(body) or {}).get("detail")
        if not isinstance(detail, str):
            detail = (
                f"{self._target.url} answered with status {status} and no reason; is it a mediator?"
            )
        return RequestRefused(detail, status=status)

    def _unreachable(self, error: Exception) -> Failure:
        return Failure(
            f"the mediator at {self._target.url} cannot be reached ({_why(error)}): is"
            " `mediator serve` running there? Say where it is with --url or MEDIATOR_URL.",
            exit_code=NOT_NOW,
        )


def delivery_path(delivery_id: str) -> str:
    """Where one delivery is."""
    return f"/v1/deliveries/{quote(delivery_id, safe='')}"


async def search(target: Target, query: Mapping[str, str], limit: int | None) -> dict[str, Any]:
    """Deliveries, page after page, until there are `limit` or no more.

    `next` of what is returned says where it would go on.
    """
    items: list[dict[str, Any]] = []
    after: str | None = None
    async with connect(target) as mediator:
        async for page in _pages(mediator, query, limit):
            items += page["items"]
            after = page["next"]
    return {"items": items, "next": after}


async def matching_ids(
    mediator: MediatorClient, query: Mapping[str, str], limit: int | None
) -> list[str]:
    """Of the newest `limit` deliveries, the oldest first."""
    found: list[str] = []
    async for page in _pages(mediator, query, limit):
        found += (item["id"] for item in page["items"])
    return found[::-1]


async def find_page(
    mediator: MediatorClient, query: Mapping[str, str], size: int, after: str | None = None
) -> dict[str, Any]:
    """Up to `size` deliveries, the newest first, and in `next` where the next page begins.

    Raises `Failure` when a value of the query cannot be read: each is one of an option.
    """
    place = {} if after is None else {"after": after}
    try:
        return await mediator.get("/v1/deliveries", {**query, "limit": str(size), **place})
    except RequestRefused as error:
        if error.answered == 400:
            raise Failure(str(error), exit_code=USAGE) from error
        raise


async def _pages(
    mediator: MediatorClient, query: Mapping[str, str], limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    found, after = 0, None
    while True:
        size = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - found)
        page = await find_page(mediator, query, size, after)
        yield page
        found, after = found + len(page["items"]), page["next"]
        if after is None or found == limit:
            return


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """As a mediator writes them: a name, then a document on one line, which may be a long one."""
    name, rest = "", b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            key, _, value = line.partition(b": ")
            if key == b"event":
                name = value.decode()
            elif key == b"data":
                yield name, _object(value) or {}


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _why(error: Exception) -> str:
    """The cause in a few words, without aiohttp's repetition of the address."""
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "it did not answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is unknown here"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number else str(error.os_error)
    return str(error) or type(error).__name__


def _trust(target: Target) -> ssl.SSLContext | bool:
    if target.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=target.ca_file)
    except (OSError, ssl.SSLError) as error:
        message = f"--ca-file: {target.ca_file} holds no certificates that can be read ({error})."
        raise SettingsError(message) from error
