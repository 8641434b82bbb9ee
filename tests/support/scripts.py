"""Scripts that tests put into a mediator's scripts directory."""

from __future__ import annotations

from pathlib import Path

from tests.support.mediator import CANARY

TELL = f"""#!/usr/bin/env python3
# Prints as JSON what it was called with.
import hashlib, json, os, sys
told = {{
    "arguments": [os.fsencode(a).decode("latin-1") for a in sys.argv[1:]],
    "variables": {{k: os.fsencode(v).decode("latin-1") for k, v in os.environ.items()
                  if k.startswith("SCW_")}},
    "stdin": hashlib.sha256(sys.stdin.buffer.read()).hexdigest(),
    "says": "{CANARY}",
}}
print(json.dumps(told))
"""

OK = "#!/bin/sh\nexit 0\n"


def interactive(text: str, *, kind: str = "condition", **policy: str) -> str:
    """A Python script of an interactive kind; `policy` are TOML values.

    Whatever it prints is an answer, unless the policy says otherwise.
    """
    stated = {"answer": "[]", **policy}
    keys = "".join(f"# {key} = {value}\n" for key, value in stated.items())
    return (
        "#!/usr/bin/env python3\n# /// script\n# [tool.mediator]\n"
        f'# kind = "{kind}"\n{keys}# ///\n{text}\n'
    )


def gated(gate: Path, started: Path, *, end: str = "") -> str:
    """Python that says it has started, waits for `gate` to appear, and then does `end`."""
    return (
        "import os, sys, time, pathlib\n"
        f"pathlib.Path({str(started)!r}).touch()\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n"
        f"{end}\n"
    )
