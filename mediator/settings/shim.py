"""The settings section `shim`: the files in SecureChange's pod, and how that is reached."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from mediator.model.durations import PositiveDuration
from mediator.model.strict import Strict
from mediator.settings.names import Name, ScriptName

Seconds = Annotated[PositiveDuration, Field(ge=timedelta(seconds=1))]


class Shim(Strict):
    """The shim in SecureChange's pod: `mediator shim push`, `verify`, `watch` and `bundle`."""

    kubeconfig: Path | None = None
    """Kubeconfig of SecureChange's cluster; by default the pod's own, or the usual kubeconfig."""
    context: str | None = None
    """Context of the kubeconfig; by default its current one."""
    namespace: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = (
        "default"
    )
    """Namespace of SecureChange's pod; default `default`."""
    selector: str = ""
    """Labels of SecureChange's pods, such as app=sc; without it no pod is looked for."""
    container: str | None = None
    """Container in which SecureChange runs scripts; by default the pod's default, or its first."""
    directory: Annotated[str, StringConstraints(pattern=r"^/[^\x00\n]*$")] = (
        "/opt/tufin/data/securechange/scripts"
    )
    """Directory of the files in the pod; by default the only one that SecureChange accepts."""
    url: str | None = None
    """Where the pod reaches the mediator; several URLs, separated by spaces, are tried in turn."""
    key: Name | None = None
    """Key of `auth.keys` that the shim signs with; by default the first."""
    ca_file: Path | None = None
    """Certificates that the shim trusts for https; by default those of the pod."""
    scripts: frozenset[ScriptName] | None = None
    """Scripts that get a file of their own in the pod; by default all that are ready."""
    timeout: Seconds | None = None
    """Time the shim's whole call may take (`MEDIATOR_TIMEOUT`); by default the shim's own."""
    connect_timeout: Seconds | None = None
    """Time one connection of it may take (`MEDIATOR_CONNECT_TIMEOUT`); by default its own."""
    spool_directory: Annotated[str, StringConstraints(pattern=r"^/[^\x00\n]*$")] | None = None
    """Directory in the pod of the shim's spool (`MEDIATOR_SPOOL_DIR`); by default none."""
    exec_timeout: Seconds = timedelta(seconds=30)
    """Time one command in the pod may take; default 30s."""
    check_every: Seconds = timedelta(minutes=5)
    """How often `watch` looks at a pod that did not start again; default 5m."""

    def anchored(self, base: Path) -> Self:
        """The same with every path on this machine taken from `base`."""
        update = {
            name: None if (path := getattr(self, name)) is None else base / path
            for name in ("kubeconfig", "ca_file")
        }
        return self.model_copy(update=update)
