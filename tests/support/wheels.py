"""Wheels that tests make themselves, so that nothing is fetched."""

from __future__ import annotations

import zipfile
from pathlib import Path


def make_wheel(
    directory: Path, name: str, version: str = "1.0", *, text: str = "", requires: str = ""
) -> Path:
    """A wheel of one module, whose `VALUE` is its version."""
    directory.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    information = f"{module}-{version}.dist-info"
    needed = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{module}.py": f"VALUE = {version!r}\n{text}",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + needed,
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = directory / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{information}/RECORD", "".join(f"{file},,\n" for file in files))
    return path
