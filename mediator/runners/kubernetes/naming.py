"""What things are called in the cluster, and where they are found in a pod."""

from __future__ import annotations

import hashlib
import re

MANAGED = "app.kubernetes.io/managed-by"
MANAGER = "securechange-mediator"
SELECTOR = f"{MANAGED}={MANAGER}"
"""Selects everything that a mediator made for an attempt."""
RUN = f"{MANAGER}/run"
SCRIPT = f"{MANAGER}/script"
RUN_NAME = f"{MANAGER}/run-name"
"""Annotation: what the mediator calls the run; not every such name is one in the cluster."""
STOPPED = f"{MANAGER}/stopped"
"""Annotation: why the mediator had an attempt ended."""

SCRIPT_CONTAINER = "script"
STDERR_CONTAINER = "stderr"

TICKET_DIRECTORY = "/mediator/ticket"
PIPE_DIRECTORY = "/mediator/pipe"
WORK_DIRECTORY = "/mediator/work"
PROGRAM = "start"
"""Key in the Secret of what starts the script."""
TICKET = "ticket"
"""Key in the Secret of what the script reads from its standard input."""
STDERR = f"{PIPE_DIRECTORY}/stderr"

_LONGEST = 52
"""Characters of a name: the cluster makes the pod's by adding some, and 63 are allowed."""
_UNFIT_NAME = re.compile(r"[^a-z0-9]+")
_UNFIT_LABEL = re.compile(r"[^A-Za-z0-9._-]+")


def job_name(run: str) -> str:
    """The name of the Job and the Secret of a run; the same for the same run, always.

    A run that is named by delivery and attempt keeps its name; one that cannot gets a digest.
    """
    plain = f"mediator-{_UNFIT_NAME.sub('-', run.lower()).strip('-')}"
    if plain == f"mediator-{run}" and len(plain) <= _LONGEST:
        return plain
    return f"{plain[: _LONGEST - 17].rstrip('-')}-{hashlib.sha256(run.encode()).hexdigest()[:16]}"


def label(text: str) -> str:
    """The text as the value of a label, as near as that comes."""
    return _UNFIT_LABEL.sub("-", text)[:63].strip("._-")
