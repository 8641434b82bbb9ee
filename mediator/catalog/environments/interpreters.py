"""Which of the installed Pythons runs a script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mediator.catalog.environments.uv import BuildFailed, Uv
from mediator.catalog.fingerprints import Fingerprint, fingerprint
from mediator.catalog.needs import Need

_PATIENCE = 20.0
"""Seconds an interpreter may take to say what it is."""
_ASK = "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3])"


@dataclass(frozen=True, kw_only=True, slots=True)
class Python:
    """An installed interpreter."""

    path: str
    """the interpreter itself, as it says; not what stands in for it on the PATH"""
    version: str
    asked: str
    """the path under which it was found"""


class Interpreters:
    """Finds interpreters, and remembers them for as long as their files stay the same."""

    def __init__(self, uv: Uv) -> None:
        self._uv = uv
        self._asked: dict[tuple[str, Fingerprint], Python] = {}

    async def find(self, need: Need) -> Python:
        """The one the settings or the first line name, when it is new enough; else any that is.

        Raises `BuildFailed` when there is none.
        """
        setting = self._uv.settings.python or ""
        wishes = [need.interpreter, need.version, setting]
        if setting and not need.version and need.requirements:
            wishes = [setting, need.interpreter]
        told = ""
        for wish in filter(None, wishes):
            python = await self._wished(wish)
            if python is not None and need.accepts(python.version):
                return python
            told = told or (f"{python.path} is {python.version}" if python else f"no {wish}")
        return await self._any(need, told)

    async def _wished(self, wish: str) -> Python | None:
        try:
            path = wish if Path(wish).is_absolute() else await self._search(wish)
            return await self._ask(path)
        except BuildFailed:
            return None

    async def _any(self, need: Need, told: str) -> Python:
        wanted = f"a Python {need.requires_python}" if need.requires_python else "a Python"
        try:
            return await self._ask(await self._search(need.requires_python or "python3"))
        except BuildFailed as error:
            seen = f"; {told}" if told else ""
            raise BuildFailed(f"{wanted} is not installed here{seen}") from error

    async def _search(self, request: str) -> str:
        return await self._uv.run(
            "python", "find", "--no-cache", "--system", "--no-project", request
        )

    async def _ask(self, path: str) -> Python:
        key = path, fingerprint(Path(path))
        if key not in self._asked:
            ended = await self._uv.execute([path, "-I", "-S", "-c", _ASK], seconds=_PATIENCE)
            lines = ended.stdout.splitlines()
            if ended.code or len(lines) != 2:
                raise BuildFailed(f"{path} is no Python that works")
            self._asked[key] = Python(path=lines[0], version=lines[1], asked=path)
        return self._asked[key]
