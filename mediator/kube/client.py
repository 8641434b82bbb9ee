"""The one way to a cluster: where it is, requests to its API server, and what their failures mean.

A pod reaches the cluster by its own service account, others by a kubeconfig. Requests are plain
JSON, because an object that is watched is read in three places and validated by the official
client for milliseconds each; what is sent is built and tested here. That client does the rest:
credentials, certificates, connections. It is imported only when a cluster is asked for (the extra
`kubernetes`): it takes most of a second and some tens of megabytes, which nobody without a cluster
shall pay.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception, wait_exponential_jitter

from mediator.errors import MediatorError, SettingsError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, Configuration

T = TypeVar("T")
Manifest = dict[str, Any]
"""An object, or a part of one, as Kubernetes writes it."""

ANSWER_TIMEOUT = 30.0
"""Seconds for one answer, where nothing else is said."""
CONNECTIONS = 500
"""Connections a client may hold at once: every followed log is one of them."""
_CONNECT_TIMEOUT = 10.0
"""Seconds until a connection is there, or is given up."""
_PAGE = 500
"""Objects in one answer of a list, as kubectl asks for them."""
_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where a pod finds the token of its service account."""
_REREAD = 60.0
"""Seconds after which a kubeconfig's token is read again: a tool may renew it in its place."""
_LONGEST = 500
"""Characters of what an API server says that are passed on."""
_DENIED = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"(?: in API group "[^"]*")?'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
"""How an API server words what RBAC does not allow."""
_SHOWN = re.compile(r",? error found in #.*", re.DOTALL)
"""With this it shows a piece of the request, which may be a piece of a ticket."""


class ClusterSettings(Protocol):
    """A section of the settings that names a cluster."""

    @property
    def kubeconfig(self) -> Path | None:
        """See `Cluster`."""
        ...

    @property
    def context(self) -> str | None:
        """See `Cluster`."""
        ...

    @property
    def namespace(self) -> str:
        """See `Cluster`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Which cluster is meant, and where in it."""

    kubeconfig: Path | None
    """a kubeconfig; None: the pod's own cluster, else $KUBECONFIG, else ~/.kube/config"""
    context: str | None
    """the context of the kubeconfig; None: the one that is current there"""
    namespace: str

    @classmethod
    def of(cls, section: ClusterSettings) -> Cluster:
        """The one that a section of the settings names."""
        return cls(
            kubeconfig=section.kubeconfig, context=section.context, namespace=section.namespace
        )


class KubernetesError(MediatorError):
    """The cluster did not do what was asked; the message is a sentence without its full stop."""

    word = "kubernetes"

    def __init__(self, message: str, *, code: int | None = None, transient: bool = False) -> None:
        """`code`: the HTTP status of a refusal; None: there was no answer, or no refusal.

        `transient`: the same request may succeed later.
        """
        super().__init__(message)
        self.code = code
        self.transient = transient


@asynccontextmanager
async def connect(
    cluster: Cluster, *, seconds: float = ANSWER_TIMEOUT
) -> AsyncIterator[KubernetesClient]:
    """A client of the cluster, closed at the end of the block; nothing has been asked yet.

    `seconds`: for one answer. Raises `SettingsError` when the extra is missing or the kubeconfig
    cannot be used.
    """
    configuration = await _configuration(cluster)
    api = library("kubernetes.aio.client").ApiClient(configuration=configuration)
    try:
        yield KubernetesClient(api, cluster.namespace, seconds=seconds)
    finally:
        await api.close()


class KubernetesClient:
    """Requests in one namespace. They raise `KubernetesError`."""

    def __init__(self, api: ApiClient, namespace: str, *, seconds: float = ANSWER_TIMEOUT) -> None:
        self._api: Any = api
        self._refused = library("kubernetes.aio.client").ApiException
        self._answer = _timeout(total=seconds)
        self.namespace = namespace

    @property
    def configuration(self) -> Configuration:
        """Where the cluster is, and by what it knows us; for connections of another kind."""
        found: Configuration = self._api.configuration
        return found

    def jobs(self, name: str = "") -> str:
        """The path of the Jobs, or of one."""
        return self._path("apis/batch/v1", "jobs", name)

    def core(self, kind: str, name: str = "") -> str:
        """The path of pods, secrets, events or others of the core group, or of one."""
        return self._path("api/v1", kind, name)

    def _path(self, group: str, kind: str, name: str) -> str:
        path = f"/{group}/namespaces/{self.namespace}/{kind}"
        return f"{path}/{name}" if name else path

    async def get(self, path: str, **query: str) -> Manifest:
        """Read an object."""
        return await self._ask("GET", path, query=query)

    async def list(self, path: str, **query: str) -> tuple[list[Manifest], str]:
        """All objects there are, and the resource version to watch from."""
        items: list[Manifest] = []
        after: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=str(_PAGE), **after, **query)
            items += page.get("items") or ()
            if not page["metadata"].get("continue"):
                return items, page["metadata"].get("resourceVersion", "")
            after = {"continue": page["metadata"]["continue"]}

    async def create(self, path: str, body: Manifest) -> Manifest:
        """Make an object; code 409: there is one of that name."""
        return await self._ask("POST", path, body=body)

    async def patch(self, path: str, body: Manifest) -> Manifest:
        """Change what is named in `body`."""
        return await self._ask("PATCH", path, body=body, kind=_MERGE)

    async def delete(self, path: str) -> Manifest:
        """Remove an object; what it owns is removed by the cluster soon after."""
        return await self._ask("DELETE", path, body={"propagationPolicy": "Background"})

    @asynccontextmanager
    async def watch(
        self, path: str, *, silence: float, **query: str
    ) -> AsyncIterator[AsyncIterator[Manifest]]:
        """What changes from now on, event by event.

        `silence`: seconds without a byte after which the connection is taken for dead.
        """
        within = _timeout(sock_read=silence)
        response = await self._send("GET", path, query={"watch": "true", **query}, within=within)
        async with _body(response) as chunks, aclosing(_documents(chunks)) as events:
            yield events

    @asynccontextmanager
    async def log(self, pod: str, container: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What a container has written and goes on to write, from its beginning."""
        path = f"{self.core('pods', pod)}/log"
        query = {"container": container, "follow": "true"}
        response = await self._send("GET", path, query=query, within=_timeout())
        async with _body(response) as chunks:
            yield chunks

    async def version(self) -> str:
        """Of the cluster, such as v1.34.1; everybody who is recognised may ask."""
        return str((await self.get("/version/"))["gitVersion"])

    async def _ask(self, method: str, path: str, **parts: Any) -> Manifest:
        response = await self._send(method, path, **parts)
        with wrapped_errors():
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
        within: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer, whose body has not been read yet."""
        with wrapped_errors():
            serialized = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Content-Type": kind, "Accept": f"{_JSON}, */*"},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(*serialized, _request_timeout=within or self._answer)
            response: aiohttp.ClientResponse = answer.response
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                said = (await response.read()).decode(errors="replace")
                raise self._refused(status=response.status, reason=response.reason, body=said)
            return response


async def with_retry(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call until there is an answer that stands; raises what is not transient."""

    async def asked() -> T:  # tenacity does not see that any other callable is asynchronous
        return await call()

    again = AsyncRetrying(
        retry=retry_if_exception(lambda error: getattr(error, "transient", False)),
        wait=wait_exponential_jitter(multiplier=0.2, max=10),
        reraise=True,
    )
    return await again(asked)


@contextmanager
def wrapped_errors() -> Iterator[None]:
    """Raise whatever goes wrong inside as a `KubernetesError`."""
    try:
        yield
    except MediatorError:
        raise
    except Exception as error:  # the library, aiohttp and the connection each have their own
        code = _code(error)
        raise KubernetesError(
            describe(error), code=code, transient=_is_transient(error, code)
        ) from error


def describe(error: Exception) -> str:
    """What went wrong and where, one sentence without its full stop, no secret in it."""
    if isinstance(error, MediatorError):
        return str(error)
    code = _code(error)
    if code is None:
        return f"the API server cannot be reached ({_unreached(error)})"
    said = _message(error)
    if (denied := _DENIED.search(said)) is not None:
        where = f" in namespace {denied['namespace']}" if denied["namespace"] else ""
        return f"may not {denied['verb']} {denied['resource']}{where} ({code})"
    if code == HTTPStatus.UNAUTHORIZED:
        return "the API server does not accept the credentials (401)"
    return f"{said or 'the API server refused'} ({code})"


def library(module: str) -> Any:
    """A module of the official client. Raises `SettingsError` when that is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise SettingsError(
            "Kubernetes cannot be reached because its client is not installed; install the "
            "mediator with it: pip install 'securechange-mediator[kubernetes]'."
        ) from error


async def _configuration(cluster: Cluster) -> Configuration:
    config = library("kubernetes.aio.config")
    made: Configuration = library("kubernetes.aio.client").Configuration()
    made.connection_pool_maxsize = CONNECTIONS
    # Since 3.13 Python also wants an authority key identifier, which many clusters' CAs lack;
    # everything else is verified (https://docs.python.org/3/library/ssl.html#ssl.VERIFY_X509_STRICT).
    made.disable_strict_ssl_verification = True
    try:
        if cluster.kubeconfig is None and _in_pod():
            config.load_incluster_config(made)
        else:
            await _from_kubeconfig(cluster, made)
    except (TypeError, AttributeError) as error:
        raise SettingsError(f"{_source(cluster)} cannot be used: it is no kubeconfig.") from error
    except (config.ConfigException, OSError, ValueError) as error:
        raise SettingsError(f"{_source(cluster)} cannot be used: {error}.") from error
    return made


async def _from_kubeconfig(cluster: Cluster, made: Configuration) -> None:
    """Fill `made` in, and have its token read again now and then."""
    load_kube_config = library("kubernetes.aio.config").load_kube_config
    if cluster.kubeconfig is not None and not cluster.kubeconfig.is_file():
        raise FileNotFoundError("there is no such file")
    file = None if cluster.kubeconfig is None else str(cluster.kubeconfig)

    async def load(into: Configuration) -> None:
        await load_kube_config(
            file, cluster.context, client_configuration=into, persist_config=False
        )

    await load(made)
    read_at = time.monotonic()

    async def refresh(into: Configuration) -> None:
        nonlocal read_at
        if time.monotonic() - read_at > _REREAD:
            read_at = time.monotonic()
            await load(into)

    hooked: Any = made  # the library's annotation leaves no room for a hook
    hooked.refresh_api_key_hook = refresh


def _in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and _TOKEN.is_file()


def _source(cluster: Cluster) -> str:
    if cluster.kubeconfig is not None:
        return f"the kubeconfig {cluster.kubeconfig}"
    if _in_pod():
        return "the pod's service account"
    return f"the kubeconfig {os.environ.get('KUBECONFIG') or '~/.kube/config'}"


def _timeout(
    *, total: float | None = None, sock_read: float | None = None
) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, sock_connect=_CONNECT_TIMEOUT, sock_read=sock_read)


@asynccontextmanager
async def _body(response: aiohttp.ClientResponse) -> AsyncIterator[AsyncIterator[bytes]]:
    """What comes, in pieces of any size; the connection is not used again."""
    try:
        async with aclosing(_chunks(response)) as chunks:
            yield chunks
    finally:
        response.close()


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    with wrapped_errors():
        async for chunk in response.content.iter_any():
            yield chunk


async def _documents(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Manifest, None]:
    """A JSON document a line; aiohttp's own lines end at 128 KiB, and objects may be larger."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            with wrapped_errors():
                document: Manifest = json.loads(line)
            yield document


def _code(error: Exception) -> int | None:
    """The HTTP status of a refusal."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _is_transient(error: Exception, code: int | None) -> bool:
    """No answer, 429, or a fault of the server."""
    if code is not None:
        return code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, (aiohttp.ClientError, OSError, TimeoutError))


def _message(error: Exception) -> str:
    """The sentence of an API server's `Status`, else the HTTP reason."""
    body: Any = getattr(error, "body", None)
    try:
        said = json.loads(body)["message"] if body else ""
    except (ValueError, TypeError, KeyError):
        said = ""
    said = str(said or getattr(error, "reason", "") or "")
    return _SHOWN.sub("", said).strip().rstrip(".")[:_LONGEST]


def _unreached(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    if isinstance(cause, Exception):
        return _unreached(cause)
    return (str(error) or type(error).__name__)[:_LONGEST]
