"""uv, and the Pythons that are installed; both are run with nothing of the daemon's secrets.

uv's own settings: https://docs.astral.sh/uv/reference/environment/
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from mediator.catalog.files import Fingerprint, fingerprint
from mediator.catalog.metadata import Requirements
from mediator.settings.schema import EnvironmentSettings

_PASSED = ("HOME", "PATH", "LANG", "TZ", "TMPDIR", "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_UV = (
    *("UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX"),
    *("UV_HTTP_TIMEOUT", "UV_INDEX_STRATEGY", "UV_INDEX_URL", "UV_INSECURE_HOST", "UV_NO_INDEX"),
    *("UV_KEYRING_PROVIDER", "UV_PYTHON_INSTALL_DIR", "UV_SYSTEM_CERTS"),
)
_OF_AN_INDEX = re.compile(r"UV_INDEX_[A-Z0-9_]+_(?:USERNAME|PASSWORD)")
_PIP: Mapping[str, str] = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}
"""pip's variables, and what says the same to uv, which does not read them."""
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_LABELS = re.compile(r"\b(?:error|cause): ?")
_LONGEST_REASON = 600
"""Characters of uv's words that are shown."""
_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_PATIENCE = 20.0
"""Seconds an interpreter may take to say what it is."""
_QUESTION = "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3])"


class BuildFailed(Exception):
    """Why an environment cannot be had, as a clause without full stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Uv:
    """uv, set up by the settings."""

    settings: EnvironmentSettings
    environ: Mapping[str, str]
    """the daemon's environment; little of it is passed on"""

    async def run(self, *arguments: str, keep_open: Sequence[int] = ()) -> str:
        """What uv says on stdout. Raises `BuildFailed` with its reason, or on time-out."""
        argv = [find_uv_bin(), "--no-progress", "--color=never", *arguments]
        seconds = self.settings.build_timeout.total_seconds()
        finished = await self.execute(argv, seconds=seconds, keep_open=keep_open)
        if finished.code:
            raise BuildFailed(reason_in(finished.stderr) or f"uv ended with code {finished.code}")
        return finished.stdout.strip()

    async def execute(
        self, argv: Sequence[str], *, seconds: float, keep_open: Sequence[int] = ()
    ) -> FinishedProgram:
        """Run a program to its end, for at most so many seconds and as long as this task.

        Raises `BuildFailed` when it cannot be started or takes too long.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",  # uv would read the pyproject.toml of any other place
                env=self.environment,
                start_new_session=True,
                pass_fds=tuple(keep_open),
            )
        except OSError as error:
            raise BuildFailed(f"{argv[0]} cannot be started ({error.strerror})") from error
        try:
            async with asyncio.timeout(seconds):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            raise BuildFailed(f"{argv[0]} took longer than {seconds:g} seconds") from None
        finally:
            await asyncio.shield(_end(process))
        return FinishedProgram(
            code=process.returncode or 0,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of uv."""
        passed = {name: value for name, value in self.environ.items() if _is_passed(name)}
        for pip, uv in _PIP.items():
            if pip in self.environ:
                passed.setdefault(uv, self.environ[pip])
        return passed | {
            "UV_CACHE_DIR": str(self.settings.directory / "cache"),
            "UV_PYTHON_DOWNLOADS": "never",
        }

    @property
    def identity(self) -> tuple[object, ...]:
        """What of the sources makes two environments of the same packages differ.

        Not whether it is offline: what was prepared with a network is used without one.
        """
        settings = self.settings
        wheels = tuple(map(str, settings.wheels))
        return settings.index_url, settings.extra_index_urls, wheels

    @property
    def sources(self) -> list[str]:
        """Options that say where packages come from."""
        settings = self.settings
        options = [f"--find-links={directory}" for directory in settings.wheels]
        if settings.offline:
            return [*options, "--offline", *(["--no-index"] if options else [])]
        if settings.index_url:
            options.append(f"--default-index={settings.index_url}")
        return [*options, *(f"--index={url}" for url in settings.extra_index_urls)]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedProgram:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


def _is_passed(name: str) -> bool:
    by_name = name in _PASSED or name.upper() in _PROXIES or name in _UV
    return by_name or bool(_OF_AN_INDEX.fullmatch(name))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of it behind."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        _signal(process.pid, number)
        try:
            async with asyncio.timeout(_GRACE):
                await process.wait()
        except TimeoutError:
            continue


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def reason_in(stderr: str) -> str:
    """The words of uv in one line, without credentials of an index."""
    told = stderr[max(0, stderr.find("error:")) :].partition("\nhint:")[0]
    lines = (_LABELS.sub(" ", line).strip() for line in told.splitlines())
    whole = " ".join(": ".join(line for line in lines if line).split())
    return without_credentials(whole)[:_LONGEST_REASON].rstrip(" .:")


def without_credentials(text: str) -> str:
    """The text with user and password of every URL left out."""
    return _CREDENTIALS.sub("***@", text)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledPython:
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
        self._asked: dict[tuple[str, Fingerprint], InstalledPython] = {}

    async def find(self, requirements: Requirements) -> InstalledPython:
        """The one the settings or the first line name, when it is new enough; else any that is.

        Raises `BuildFailed` when there is none.
        """
        setting = self._uv.settings.python or ""
        wishes = [requirements.interpreter, requirements.version, setting]
        if setting and not requirements.version and requirements.packages:
            wishes = [setting, requirements.interpreter]
        told = ""
        for wish in filter(None, wishes):
            python = await self._wished(wish)
            if python is not None and requirements.accepts(python.version):
                return python
            told = told or (f"{python.path} is {python.version}" if python else f"no {wish}")
        return await self._any(requirements, told)

    async def _wished(self, wish: str) -> InstalledPython | None:
        try:
            path = wish if Path(wish).is_absolute() else await self._search(wish)
            return await self._ask(path)
        except BuildFailed:
            return None

    async def _any(self, requirements: Requirements, told: str) -> InstalledPython:
        version = requirements.requires_python
        try:
            return await self._ask(await self._search(version or "python3"))
        except BuildFailed as error:
            wanted = f"a Python {version}" if version else "a Python"
            seen = f"; {told}" if told else ""
            raise BuildFailed(f"{wanted} is not installed here{seen}") from error

    async def _search(self, request: str) -> str:
        return await self._uv.run(
            "python", "find", "--no-cache", "--system", "--no-project", request
        )

    async def _ask(self, path: str) -> InstalledPython:
        key = path, fingerprint(Path(path))
        if key not in self._asked:
            argv = [path, "-I", "-S", "-c", _QUESTION]
            finished = await self._uv.execute(argv, seconds=_PATIENCE)
            lines = finished.stdout.splitlines()
            if finished.code or len(lines) != 2:
                raise BuildFailed(f"{path} is no Python that works")
            self._asked[key] = InstalledPython(path=lines[0], version=lines[1], asked=path)
        return self._asked[key]
