"""Tells a service manager such as systemd how the daemon is: ready, alive, stopping.

The protocol is one datagram to the socket that `$NOTIFY_SOCKET` names: sd_notify(3). It is written
here because the libraries for it are not kept, or bind to libsystemd. `$WATCHDOG_USEC` says how
long the manager waits for a sign of life before it kills: sd_watchdog_enabled(3). The signs come
from the event loop, since a daemon whose loop hangs does nothing, however alive its threads are.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

_log = structlog.get_logger()
_PATIENCE = 1.0
"""Seconds for which a manager that does not read holds the daemon up, at most."""
_EVERY = 10.0
"""Seconds between two reports of what is done, where no watchdog asks for more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceManager:
    """Who started this process and wants to know; without an address nobody does."""

    address: str = ""
    """path of a socket, or `@` and a name in Linux's abstract namespace"""
    patience: float = 0.0
    """seconds it waits for the next sign of life; 0: for ever"""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ServiceManager:
        """The manager that the environment names."""
        meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environ.get("WATCHDOG_USEC", "") if meant else ""
        return cls(
            address=environ.get("NOTIFY_SOCKET", ""),
            patience=int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0,
        )

    def ready(self, status: str) -> None:
        """The service has started."""
        self._tell("READY=1", f"STATUS={status}")

    def stopping(self, status: str, *, seconds: float) -> None:
        """The service ends within so many seconds, however few the manager gives by itself."""
        extension = f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"
        self._tell("STOPPING=1", f"STATUS={status}", extension)

    async def keep_informed(self, status: Callable[[], str]) -> None:
        """Give signs of life, three for each the manager waits for, until cancelled."""
        while True:
            await asyncio.sleep(self.patience / 3 or _EVERY)
            self._tell("WATCHDOG=1", f"STATUS={status()}")

    def _tell(self, *lines: str) -> None:
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.settimeout(_PATIENCE)
                manager.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.warning("service manager not told", reason=str(error))
