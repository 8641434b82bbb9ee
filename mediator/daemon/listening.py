"""Opening and closing the ports."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from mediator.errors import SettingsError

LONGEST_TARGET = 65536
"""Bytes of the request line: arguments travel in it. The shim and this side agree."""


@dataclass(kw_only=True, slots=True)
class Listener:
    """One application on one port."""

    app: web.Application
    host: str
    port: int
    key: str
    """the settings key of the port, for errors"""
    _runner: web.AppRunner | None = None

    async def open(self) -> str:
        """Listen; the URL. Raises `SettingsError` when the address cannot be had."""
        self._runner = web.AppRunner(
            self.app,
            access_log=None,
            max_line_size=LONGEST_TARGET,
            # What was signed is what was sent: a body is never unpacked on the way in.
            auto_decompress=False,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await self.close(0)
            raise SettingsError(
                f"{self.key}: cannot listen on {self.host} port {self.port}: {error.strerror};"
                " choose another with MEDIATOR_HTTP__PORT, or stop who uses it"
            ) from error
        host, port, *_ = self._runner.addresses[0]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self, seconds: float) -> None:
        """Stop listening, give requests in progress `seconds` to end, then cut them."""
        if self._runner is not None:
            self._runner._shutdown_timeout = seconds  # noqa: SLF001 - not known before
            await self._runner.cleanup()
            self._runner = None
