"""Requests to the API server, in plain JSON, and which of their failures pass.

Plain, because an object that is watched is read in three places and validated by the client for
milliseconds each; what is sent is built and tested here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from mediator.kube.client import library
from mediator.runners.kubernetes.manifests import Manifest

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

T = TypeVar("T")
_ANSWER = aiohttp.ClientTimeout(total=30, sock_connect=10)
_GOES_ON = 75.0
"""Seconds without a byte after which a stream is taken for dead; a watch ends before."""
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_GOES_ON)
_LOG = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=None)
_JSON = "application/json"
_MERGE = "application/merge-patch+json"


class Calls:
    """Requests in one namespace. They raise the client's `ApiException`, or what `passes` knows."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client: Any = client
        self._refused = library("kubernetes.aio.client").ApiException
        self.namespace = namespace

    def jobs(self, name: str = "") -> str:
        """The path of the Jobs, or of one."""
        return self._path("apis/batch/v1", "jobs", name)

    def of_core(self, kind: str, name: str = "") -> str:
        """The path of pods, secrets or events, or of one."""
        return self._path("api/v1", kind, name)

    def _path(self, group: str, kind: str, name: str) -> str:
        path = f"/{group}/namespaces/{self.namespace}/{kind}"
        return f"{path}/{name}" if name else path

    async def get(self, path: str, **query: str) -> Manifest:
        """Read an object or a list."""
        return await self._ask("GET", path, query=query)

    async def create(self, path: str, body: Manifest) -> Manifest:
        """Make an object; 409: there is one of that name."""
        return await self._ask("POST", path, body=body)

    async def patch(self, path: str, body: Manifest) -> Manifest:
        """Change what is named in `body`."""
        return await self._ask("PATCH", path, body=body, kind=_MERGE)

    async def delete(self, path: str) -> Manifest:
        """Remove an object; what it owns is removed by the cluster soon after."""
        return await self._ask("DELETE", path, body={"propagationPolicy": "Background"})

    async def watch(self, path: str, **query: str) -> aiohttp.ClientResponse:
        """What changes from now on, a JSON document a line; the caller releases it."""
        return await self._send("GET", path, query=query, within=_STREAM)

    async def log(self, pod: str, container: str) -> aiohttp.ClientResponse:
        """What a container has written and goes on to write; the caller releases it."""
        query = {"container": container, "follow": "true"}
        return await self._send("GET", f"{self.of_core('pods', pod)}/log", query=query, within=_LOG)

    async def _ask(self, method: str, path: str, **parts: Any) -> Manifest:
        response = await self._send(method, path, **parts)
        answer: Manifest = json.loads(await response.read())
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Manifest | None = None,
        kind: str = _JSON,
        within: aiohttp.ClientTimeout = _ANSWER,
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": kind, "Accept": f"{_JSON}, */*"}
        serialized = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*serialized, _request_timeout=within)
        response: aiohttp.ClientResponse = answer.response
        if response.status >= 300:
            said = (await response.read()).decode(errors="replace")
            raise self._refused(status=response.status, reason=response.reason, body=said)
        return response


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a refusal; None: there was no answer at all."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def passes(error: BaseException) -> bool:
    """Whether the same request may succeed later: no answer, 429, or a fault of the server."""
    status = status_of(error)
    if status is not None:
        return status == 429 or status >= 500
    return isinstance(error, (aiohttp.ClientError, OSError, TimeoutError))


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call until there is an answer that stands; raises what does not pass."""

    async def made() -> T:  # tenacity does not see that any other callable is asynchronous
        return await call()

    return await AsyncRetrying(retry=retry_if_exception(passes), wait=_wait, reraise=True)(made)


_growing = wait_exponential_jitter(multiplier=0.2, max=10)


def _wait(state: RetryCallState) -> float:
    return _growing(state)
