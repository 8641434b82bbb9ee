"""The code of scripts, compiled once for many runs. A part of the program `warm_parent.py`."""

from __future__ import annotations

import errno
import os
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

MOST = 16  # scripts whose code is kept
YOUNG = 2_000_000_000  # ns; a file changed so lately may change again without a new time

Version = tuple[int, ...]


class Codes:
    """What scripts were compiled to, each in the version it had then."""

    def __init__(self, *, most: int = MOST, young: int = YOUNG) -> None:
        self._most, self._young = most, young
        self._known: dict[str, tuple[Version, CodeType]] = {}

    def of(self, script: str, *, executed: bool) -> CodeType:
        """The code of a script as it is now. Raises whatever is wrong with it."""
        if executed and not os.access(script, os.X_OK):
            raise OSError(errno.EACCES, "not executable")
        with open(script, "rb") as file:  # noqa: PTH123 -- pathlib is slow to import
            version, code = self._known.get(script, ((), None))
            if code is not None and version == version_of(file.fileno()):
                return code
            return compile(file.read(), script, "exec", dont_inherit=True)

    def learn(self, script: str) -> None:
        """Compile a script for later. Raises what is wrong with it.

        Not one that the compiler warns of: every run is to show that.
        """
        with open(script, "rb") as file:  # noqa: PTH123 -- as above
            version = version_of(file.fileno())
            known = self._known.get(script)
            if (known is not None and known[0] == version) or self._is_young(version):
                return
            text = file.read()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            code = compile(text, script, "exec", dont_inherit=True)
        if not told:
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[script] = version, code

    def _is_young(self, version: Version) -> bool:
        """Whether it was changed a moment ago, or in the future."""
        return time.time_ns() - max(version[:2]) < self._young


def version_of(file: int) -> Version:
    """What changes when a file does: times in ns first, then size, inode and device."""
    found = os.fstat(file)
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
