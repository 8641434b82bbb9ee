"""Runs one command in a container through the Kubernetes API, with a limit of time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from mediator.errors import MediatorError
from mediator.kube.client import KubernetesClient, KubernetesError, describe, library

_STDIN, _STDOUT, _STDERR, _ERROR = range(4)
"""Channels of v4.channel.k8s.io, the protocol that `WsApiClient` asks for."""
_PIECE = 16 * 1024
"""Bytes of stdin in one message; proxies between here and the container have small buffers."""
_MOST = 4 * 2**20
"""Bytes of output that are read before the command is given up: no container may fill memory."""
_NO_SUCH_COMMAND = "executable file not found"
"""How containerd's and CRI-O's runtimes say that there is no such command. Not by an exit code:
bash ends with 127 when it does not find the file that it shall run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodContainer:
    """A container of a pod, in the client's namespace."""

    pod: str
    container: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """What came of a command that ran to its end."""

    code: int
    stdout: bytes
    stderr: bytes


async def execute(
    client: KubernetesClient,
    where: PodContainer,
    command: Sequence[str],
    *,
    stdin: bytes,
    seconds: float,
) -> CommandResult:
    """Run it. Raises `KubernetesError` when it cannot be run, or does not end in time.

    What still runs there is told by the end of its input that nobody listens any more.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(client, where, command, stdin)
    except TimeoutError as error:
        raise KubernetesError(f"{command[0]} did not end there within {seconds:g} s") from error
    except MediatorError:
        raise
    except Exception as error:  # the library, aiohttp and the connection each have their own
        raise _refusal(error, client.namespace) from error


def _refusal(error: Exception, namespace: str) -> KubernetesError:
    """Of a handshake that was refused only the status is passed on by aiohttp."""
    code = getattr(error, "status", None)
    if code == HTTPStatus.FORBIDDEN:
        said = f"may not get and create pods/exec in namespace {namespace} (403)"
    elif code == HTTPStatus.NOT_FOUND:
        said = "the pod or its container is gone (404)"
    elif code is not None and code != HTTPStatus.UNAUTHORIZED:
        said = f"nothing can be run in it now ({code})"
    else:
        said = describe(error)
    return KubernetesError(said, code=code)


async def _exchange(
    client: KubernetesClient, where: PodContainer, command: Sequence[str], stdin: bytes
) -> CommandResult:
    # The library's client of WebSockets takes no other client, only a configuration: a connection
    # of its own.
    async with library("kubernetes.aio.stream").WsApiClient(client.configuration) as api:
        core = library("kubernetes.aio.client").CoreV1Api(api)
        response = await core.connect_get_namespaced_pod_exec_without_preload_content(
            where.pod,
            client.namespace,
            container=where.container,
            command=list(command),
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
        )
        async with response as socket:
            sending = asyncio.create_task(_send(socket, stdin), name="stdin of an exec")
            try:
                return await _receive(socket, command)
            finally:  # a command that did not read all has ended all the same
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)


async def _send(socket: Any, stdin: bytes) -> None:
    for at in range(0, len(stdin), _PIECE):
        await socket.send_bytes(bytes([_STDIN]) + stdin[at : at + _PIECE])


async def _receive(socket: Any, command: Sequence[str]) -> CommandResult:
    streams = _Streams()
    async for message in socket:
        data = message.data
        streams.take(data.encode() if isinstance(data, str) else bytes(data))
        if streams.status:  # the last thing to be said; some servers keep the connection open
            break
    if not streams.status:
        raise KubernetesError("the connection to the container was lost", transient=True)
    return CommandResult(
        code=exit_code(bytes(streams.status), command),
        stdout=bytes(streams.stdout),
        stderr=bytes(streams.stderr),
    )


@dataclass(slots=True)
class _Streams:
    """What came out so far."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    status: bytearray = field(default_factory=bytearray)

    def take(self, message: bytes) -> None:
        """Add what is in one message."""
        parts = {_STDOUT: self.stdout, _STDERR: self.stderr, _ERROR: self.status}
        if message and (part := parts.get(message[0])) is not None:
            part += message[1:]
        if len(self.stdout) + len(self.stderr) > _MOST:
            raise KubernetesError("it says too much: something else than bash answered there")


def exit_code(status: bytes, command: Sequence[str]) -> int:
    """The code in a `Status` document. Raises `KubernetesError` when the command was never run."""
    try:
        document = json.loads(status)
        if document.get("status") == "Success":
            return 0
        causes = document.get("details", {}).get("causes", [])
        code = next(
            (int(one["message"]) for one in causes if one.get("reason") == "ExitCode"), None
        )
        said = str(document.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KubernetesError("the answer of the API server cannot be read") from error
    if _NO_SUCH_COMMAND in said:
        raise KubernetesError(
            f"the container has no {command[0]}, which must be there to look into it"
        )
    if code is None:
        raise KubernetesError(f"{command[0]} could not be started there: {said[:300]}")
    return code
