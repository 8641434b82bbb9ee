"""The settings section `kubernetes`: where attempts run as Jobs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from mediator.model.durations import PositiveDuration
from mediator.model.policy import ObjectName, PodPath, Strict


class PodScripts(Strict):
    """Where a pod finds the scripts; with neither claim nor config_map they are in the image."""

    claim: ObjectName | None = None
    """PersistentVolumeClaim that holds the same files as scripts.directory; mounted read-only."""
    config_map: ObjectName | None = None
    """ConfigMap that holds them, at most 1 MiB; by default none."""
    directory: PodPath = "/mediator/scripts"
    """Where in the pod they are; default /mediator/scripts."""

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.claim is not None and self.config_map is not None:
            raise ValueError("name a claim or a config_map, not both")
        return self


class Kubernetes(Strict):
    """Where attempts run as Jobs; needs the extra `kubernetes`."""

    enabled: bool = False
    """Run the attempts of scripts whose runner is `kubernetes`; default false."""
    kubeconfig: Path | None = None
    """Kubeconfig; by default the pod's service account, else $KUBECONFIG, else ~/.kube/config."""
    context: str | None = None
    """Context of the kubeconfig; by default the one that is current there."""
    namespace: ObjectName = "default"
    """Namespace of the Jobs; default default."""
    image: str | None = None
    """Image of scripts whose policy names none; it needs /bin/sh, cat, env and mkfifo."""
    scripts: PodScripts = PodScripts()
    """Where a pod finds the scripts."""
    start_timeout: PositiveDuration = timedelta(minutes=5)
    """Time a pod may wait for a node and its image before the timeout begins; default 5m."""
    keep_ended: PositiveDuration = timedelta(hours=24)
    """Time an ended Job is kept whose end no mediator has recorded; default 24h."""
    pod_template: dict[str, Any] = Field(default_factory=dict)
    """A pod template as Kubernetes has it, under what the mediator sets; by default empty."""

    def anchored(self, base: Path) -> Self:
        """The same with every path taken from `base`."""
        if self.kubeconfig is None:
            return self
        return self.model_copy(update={"kubeconfig": base / self.kubeconfig})
