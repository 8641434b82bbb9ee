"""How Kubernetes is reached: by a pod's own service account, or by a kubeconfig.

Needs the extra `kubernetes`. The official client is imported only when a client is asked for: it
takes most of a second and some tens of megabytes, which nobody without a cluster shall pay.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediator.errors import SettingsError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, Configuration

CONNECTIONS = 500
"""Connections a client may hold at once: every followed log is one of them."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Which cluster is meant, and where in it."""

    kubeconfig: Path | None
    """a kubeconfig; None: the pod's own cluster, else $KUBECONFIG, else ~/.kube/config"""
    context: str | None
    """the context of the kubeconfig; None: the one that is current there"""
    namespace: str


@asynccontextmanager
async def api_client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    """A client of the cluster, closed at the end of the block; nothing has been asked yet.

    Raises `SettingsError` when the extra is missing or the kubeconfig cannot be used.
    """
    made = library("kubernetes.aio.client").ApiClient(configuration=await _configuration(cluster))
    try:
        yield made
    finally:
        await made.close()


def library(module: str) -> Any:
    """A module of the official client. Raises `SettingsError` when that is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise SettingsError(
            "Kubernetes cannot be reached because its client is not installed; install the "
            "mediator with it: pip install 'securechange-mediator[kubernetes]'."
        ) from error


def describe(error: Exception) -> str:
    """What went wrong and where, one sentence without its full stop, no secret in it."""
    status = getattr(error, "status", None)
    if status is None:
        return f"the API server cannot be reached ({_unreached(error)})"
    said = _message(error)
    if (denied := _DENIED.search(said)) is not None:
        where = f" in namespace {denied['namespace']}" if denied["namespace"] else ""
        return f"may not {denied['verb']} {denied['resource']}{where} ({status})"
    if status == 401:
        return "the API server does not accept the credentials (401)"
    return f"{said or 'the API server refused'} ({status})"


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
