"""Runs one command in a container through the Kubernetes API, with a limit of time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mediator.keeper.protocol import PodError
from mediator.kube.client import describe, library

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

_STDIN, _STDOUT, _STDERR, _ERROR = range(4)
"""Channels of v4.channel.k8s.io, the protocol that `WsApiClient` asks for."""
_PIECE = 16 * 1024
"""Bytes of stdin in one message; proxies between here and the container have small buffers."""
_MOST = 4 * 2**20
"""Bytes of output that are read before the command is given up: no container may fill memory."""
_NOT_FOUND = "executable file not found"
"""How containerd's and CRI-O's runtimes say that there is no such command. Not by an exit code:
bash ends with 127 when it does not find the file that it shall run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A container of a pod."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A command that ran to its end."""

    code: int
    stdout: bytes
    stderr: bytes


async def execute(
    api: ApiClient, place: Place, command: Sequence[str], *, stdin: bytes, seconds: float
) -> Ended:
    """Run it. Raises `PodError` when it cannot be run, or does not end in time.

    What still runs there is told by the end of its input that nobody listens any more.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(api, place, command, stdin)
    except TimeoutError as error:
        raise PodError(f"{command[0]} did not end there within {seconds:g} s") from error
    except PodError:
        raise
    except Exception as error:  # the library, aiohttp and the connection each have their own
        raise PodError(_refusal(error, place)) from error


def _refusal(error: Exception, place: Place) -> str:
    """Of a handshake that was refused only the status is passed on by aiohttp."""
    status = getattr(error, "status", None)
    if status == HTTPStatus.FORBIDDEN:
        return f"may not get and create pods/exec in namespace {place.namespace} (403)"
    if status == HTTPStatus.NOT_FOUND:
        return "the pod or its container is gone (404)"
    if status is not None and status != HTTPStatus.UNAUTHORIZED:
        return f"nothing can be run in it now ({status})"
    return describe(error)


async def _exchange(api: ApiClient, place: Place, command: Sequence[str], stdin: bytes) -> Ended:
    # It takes no client, only a configuration, so a connection of its own.
    async with library("kubernetes.aio.stream").WsApiClient(api.configuration) as client:
        core = library("kubernetes.aio.client").CoreV1Api(client)
        response = await core.connect_get_namespaced_pod_exec_without_preload_content(
            place.pod,
            place.namespace,
            container=place.container,
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


@dataclass(slots=True)
class _Heard:
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
            raise PodError("it says too much: something else than bash answered there")


async def _receive(socket: Any, command: Sequence[str]) -> Ended:
    heard = _Heard()
    async for message in socket:
        data = message.data
        heard.take(data.encode() if isinstance(data, str) else bytes(data))
        if heard.status:  # the last thing to be said; some servers keep the connection open
            break
    if not heard.status:
        raise PodError("the connection to the container was lost")
    code = exit_code(bytes(heard.status), command)
    return Ended(code=code, stdout=bytes(heard.stdout), stderr=bytes(heard.stderr))


def exit_code(status: bytes, command: Sequence[str]) -> int:
    """The code in a `Status` document. Raises `PodError` when the command was never run."""
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
        raise PodError("the answer of the API server cannot be read") from error
    if _NOT_FOUND in said:
        raise PodError(f"the container has no {command[0]}, which must be there to look into it")
    if code is None:
        raise PodError(f"{command[0]} could not be started there: {said[:300]}")
    return code
