"""SecureChange's pod, as far as a script sees it: a directory of scripts, and who calls them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.support.mediator import KEY, SHIM, Mediator


class Form(StrEnum):
    """How the shim can be installed for a script.

    All but the first need no argument, and so serve the kinds that have nothing but a path.
    """

    GENERIC = "generic"
    """the shim under its own name, the script as the first argument"""
    COPY = "copy"
    """a copy of the shim, named after the script"""
    COPY_SH = "copy.sh"
    """the same with the suffix that the upload may want"""
    LINK = "link"
    """a link to the shim, named after the script"""
    WRAPPER = "wrapper"
    """the two lines that the shim's header shows"""


_WRAPPER = """#!/bin/bash
exec "$BASH" "${{0%/*}}/securechange-shim" {script} "$@"
"""


@dataclass(frozen=True)
class Pod:
    """`directory` is what /opt/tufin/data/securechange/scripts is in a real pod."""

    directory: Path

    @classmethod
    def of(cls, mediator: Mediator, directory: Path) -> Pod:
        """A pod whose shim is set up for this mediator, by its settings file alone."""
        directory.mkdir(exist_ok=True)
        shutil.copy(SHIM, directory / "securechange-shim")
        shutil.copy(mediator.home / "securechange.key", directory / "securechange-shim.key")
        directory.joinpath("securechange-shim.conf").write_text(
            f"MEDIATOR_URL={mediator.url}\n"
            f"MEDIATOR_KEY_ID={KEY.id}\n"
            "MEDIATOR_KEY_FILE=securechange-shim.key\n"
            "MEDIATOR_TIMEOUT=30\n"
        )
        return cls(directory)

    def call(
        self,
        script: str,
        *arguments: str,
        stdin: bytes,
        event: str | None = None,
        form: Form = Form.WRAPPER,
    ) -> subprocess.CompletedProcess[bytes]:
        """Call the script as SecureChange does, through the shim in this form.

        No event: `SCW_EVENT` is not set.
        """
        command = self._install(script, form)
        return subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
            env={
                "PATH": os.environ["PATH"],
                # Such a proxy is for the Internet; a shim that used it would not get through.
                "http_proxy": "http://127.0.0.1:9",
                **({} if event is None else {"SCW_EVENT": event}),
            },
        )

    def _install(self, script: str, form: Form) -> list[str]:
        shim = self.directory / "securechange-shim"
        if form is Form.GENERIC:
            return [str(shim), script]
        path = self.directory / (f"{script}.sh" if form is Form.COPY_SH else script)
        path.unlink(missing_ok=True)
        if form is Form.LINK:
            path.symlink_to(shim.name)
        elif form is Form.WRAPPER:
            path.write_text(_WRAPPER.format(script=script))
        else:
            shutil.copy(shim, path)
        if form is not Form.LINK:
            path.chmod(0o755)
        return [str(path)]
