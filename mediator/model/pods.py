"""What a policy says of the pod that an attempt runs in, where its runner is `kubernetes`."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from mediator.model.strict import Strict

ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""The name of a Kubernetes object (a DNS subdomain)."""
PodPath = Annotated[str, StringConstraints(pattern=r"^/[^:\x00]*$")]
"""An absolute path in a container."""
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[KMGT]i?)?$")]
"""Kubernetes' way to write an amount: `500m` of a processor, `256Mi`."""


class Resources(Strict):
    """What a script's container asks for, and what it may use at most."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """Amounts that are set aside for it, such as {cpu: 100m, memory: 128Mi}."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """Amounts it cannot go beyond; beyond its memory it is killed."""


class EnvironmentSource(Strict):
    """Where variables come from that the mediator itself does not know: one of the two."""

    secret: ObjectName | None = None
    """A Secret; each of its keys becomes a variable."""
    config_map: ObjectName | None = None
    """A ConfigMap; each of its keys becomes a variable."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret is None) == (self.config_map is None):
            raise ValueError("name a secret or a config_map, one of the two")
        return self


class PodVolume(Strict):
    """Something mounted into the script's container: one of claim, secret and config_map."""

    claim: ObjectName | None = None
    """A PersistentVolumeClaim."""
    secret: ObjectName | None = None
    """A Secret; each of its keys is a file."""
    config_map: ObjectName | None = None
    """A ConfigMap; each of its keys is a file."""
    path: PodPath
    """Where it is found."""
    writable: bool = False
    """Whether the script may write to it; only a claim can be."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(name is not None for name in (self.claim, self.secret, self.config_map)) != 1:
            raise ValueError("name a claim, a secret or a config_map, one of the three")
        return self


class Pod(Strict):
    """The pod of one script's attempts."""

    image: str | None = Field(default=None, min_length=1)
    """Image; it needs /bin/sh, cat, env, mkfifo and what runs the script; else kubernetes.image."""
    resources: Resources = Resources()
    """What its container asks for, and what it may use at most."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes it may run on."""
    tolerations: tuple[dict[str, Any], ...] = ()
    """Taints it tolerates, as Kubernetes writes tolerations."""
    service_account: ObjectName | None = None
    """Service account, whose token it then gets; by default no token at all."""
    env_from: tuple[EnvironmentSource, ...] = ()
    """Secrets and ConfigMaps whose keys become variables."""
    volumes: tuple[PodVolume, ...] = ()
    """What is mounted besides."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of its pods, besides the mediator's own."""
