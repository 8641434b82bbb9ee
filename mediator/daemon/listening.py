"""Opening and closing the ports."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from mediator.daemon.connections import Runner
from mediator.errors import SettingsError
from mediator.settings.tree import Http
from mediator.web.app import make_api, make_health
from mediator.web.services import Services

LONGEST_TARGET = 128 * 1024
"""Bytes of the request line: arguments travel in it, and percent-encoding makes three of one."""
IDLE = 75.0
"""Seconds a connection may take for the headers of its next request, its first included."""
FIRST_WORD = 1.0
"""Seconds that who has connected gets at shutdown to send a request."""
LAST_ANSWERS = 5.0
"""Seconds that requests in progress get at shutdown, when all they wait for has ended."""


@dataclass(kw_only=True, slots=True)
class Listener:
    """One application on one port."""

    app: web.Application
    host: str
    port: int
    key: str
    """the settings key of the port, for errors"""
    idle: float = IDLE
    _runner: Runner | None = field(default=None, init=False)

    async def open(self) -> str:
        """Listen; the URL. Raises `SettingsError` when the address cannot be had."""
        self._runner = Runner(
            self.app,
            access_log=None,
            keepalive_timeout=self.idle,
            max_line_size=LONGEST_TARGET,
            shutdown_timeout=1.0,  # after `drain`: for writing the last answers
            # What was signed is what was sent: a body is never unpacked on the way in.
            auto_decompress=False,
        )
        await self._runner.setup()
        try:
            host, port = await self._runner.listen(self.host, self.port)
        except OSError as error:
            await self.close()
            raise SettingsError(self._taken(error)) from error
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _taken(self, error: OSError) -> str:
        return (
            f"{self.key}: cannot listen on {self.host} port {self.port}: {error.strerror};"
            f" choose another with MEDIATOR_{self.key.upper().replace('.', '__')}, or stop who"
            " uses it"
        )

    async def close(self) -> None:
        """Stop listening, let requests in progress end for `LAST_ANSWERS`, then cut them."""
        if self._runner is not None:
            await self._runner.drain(LAST_ANSWERS, silence=FIRST_WORD)
            await self._runner.cleanup()
            self._runner = None


def listeners(http: Http, services: Services) -> dict[str, Listener]:
    """The ports of the settings, by the name of their URL in the ready line."""
    # Port 0 is any port, so two of them are two ports.
    apart = http.metrics_port is not None and (http.metrics_port != http.port or not http.port)
    api = make_api(services, with_health=not apart, with_console=http.console)
    found = {"url": Listener(app=api, host=http.host, port=http.port, key="http.port")}
    if apart and http.metrics_port is not None:
        health = make_health(services)
        found["metrics_url"] = Listener(
            app=health, host=http.host, port=http.metrics_port, key="http.metrics_port"
        )
    return found
