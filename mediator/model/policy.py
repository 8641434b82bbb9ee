"""How one script is to be run: what the script says of itself, overridden by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from mediator.model.durations import Duration, PositiveDuration, Size

EMPTY = "empty"
"""In a list of accepted roots: no body at all."""
ANY = "*"
"""In a list of accepted roots: any well-formed document."""


class Kind(StrEnum):
    """What SecureChange expects of a script."""

    TRIGGER = "trigger"
    PRE_ASSIGNMENT = "pre-assignment"
    CONDITION = "condition"
    ASSIGNMENT = "assignment"
    RISK_ANALYSIS = "risk-analysis"
    VALIDATION = "validation"

    @property
    def interactive(self) -> bool:
        """Whether SecureChange waits for the script's answer."""
        return self is not Kind.TRIGGER


ROOTS = MappingProxyType(
    {
        Kind.TRIGGER: ("ticket_info",),
        Kind.PRE_ASSIGNMENT: ("ticket_info",),
        Kind.CONDITION: ("ticket_info", EMPTY),
        Kind.ASSIGNMENT: ("ticket_info", "scripted_decommission_task_request", EMPTY),
        Kind.RISK_ANALYSIS: ("field_info", "ticket_info", EMPTY),
        Kind.VALIDATION: (ANY, EMPTY),
    }
)
"""Root elements each kind takes by default."""

ANSWERS = MappingProxyType(
    {
        Kind.TRIGGER: (),
        Kind.PRE_ASSIGNMENT: (),
        Kind.CONDITION: ("response",),
        Kind.ASSIGNMENT: ("tasks",),
        Kind.RISK_ANALYSIS: ("external_risk_analysis_result",),
        Kind.VALIDATION: (),
    }
)
"""Root elements of which each kind must print one; empty: SecureChange takes no answer."""


class Strict(BaseModel):
    """Stated by a person: an unknown key is an error, and so is `yes` where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` as true, and pydantic reads true as 1: port 1, one attempt."""
        if isinstance(value, bool) and not _takes_bool(cls.model_fields[str(info.field_name)]):
            shown = str(value).lower()
            raise ValueError(f"{shown} is no number or text; if text is meant, write it in quotes")
        return value


def _takes_bool(field: FieldInfo) -> bool:
    return bool in {field.annotation, *get_args(field.annotation)}


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


ExitCode = Annotated[int, Field(ge=1, le=255)]
ModuleName = Annotated[str, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Order(StrEnum):
    """Whether one ticket's deliveries of a script wait for each other."""

    NONE = "none"
    TICKET = "ticket"


class WhenTested(StrEnum):
    """What the Test button of SecureChange, or the argument `test`, leads to."""

    RUN = "run"
    CHECK = "check"


class Trouble(StrEnum):
    """When a fallback is answered instead of the script's own answer."""

    TIMEOUT = "timeout"
    """it did not answer in time, or there was no slot for it in time"""
    ERROR = "error"
    """it ended otherwise than with exit code 0, or what it printed is no answer"""


class RunnerName(StrEnum):
    """What runs the attempts."""

    PROCESS = "process"
    """a process of its own"""
    WARM = "warm"
    """a fork of a Python that has modules imported already"""
    KUBERNETES = "kubernetes"
    """a Job of its own in a Kubernetes cluster"""


class Retry(Strict):
    """When a failed attempt is made again. A script may state some keys and leave the others."""

    attempts: int = Field(default=5, ge=1, le=1000)
    """Attempts in all, the first included."""
    first: Duration = timedelta(seconds=2)
    """Wait after the first failed attempt; it doubles from one to the next."""
    longest: Duration = timedelta(minutes=10)
    """No wait is longer than this."""
    total: Duration = timedelta(hours=24)
    """No attempt is started later than this after acceptance."""


class Limits(Strict):
    """Bounds on what one attempt may use; None leaves the limit of the daemon."""

    output: Size = 2**20
    """Bytes kept of stdout and of stderr each; the middle of what is longer is left out."""
    cpu: PositiveDuration | None = None
    """Processor time of one process (RLIMIT_CPU)."""
    memory: Size | None = None
    """Address space of one process (RLIMIT_AS)."""
    file_size: Size | None = None
    """Largest file it may write (RLIMIT_FSIZE)."""
    files: int | None = Field(default=None, ge=16)
    """Open files of one process (RLIMIT_NOFILE)."""
    processes: int | None = Field(default=None, ge=1)
    """Processes of the daemon's user (RLIMIT_NPROC)."""


class Fallback(Strict):
    """An answer that is given when an interactive script gives none."""

    on: frozenset[Trouble] = Field(default=frozenset(Trouble), min_length=1)
    """`timeout`, `error` or both."""
    stdout_file: Annotated[str, Field(pattern=r"^[^/\x00]+$")]
    """A file of the scripts directory; what is in it is answered."""


class StatedPolicy(Strict):
    """The policy keys a script or the settings may state; the others are left to the defaults."""

    kind: Kind | None = None
    """What SecureChange expects of the script."""
    timeout: PositiveDuration | None = None
    """Time one attempt may take before SIGTERM."""
    grace: PositiveDuration | None = None
    """Time from SIGTERM to SIGKILL."""
    retry: Retry | None = None
    """When a failed attempt is made again (trigger scripts only: an interactive call has one)."""
    give_up_on: frozenset[ExitCode] | None = None
    """Exit codes after which no further attempt is made."""
    concurrency: int | None = Field(default=None, ge=1)
    """Attempts of this script that may run at once, on all mediators of a store together."""
    order: Order | None = None
    """`ticket`: one ticket's deliveries run one after another, in arrival order."""
    runner: RunnerName | None = None
    """What runs the attempts: `process`, `warm` (forks of a Python kept ready), or `kubernetes`."""
    preload: tuple[ModuleName, ...] | None = None
    """Modules that a `warm` Python has imported."""
    env: dict[VariableName, str] | None = None
    """Variables the script gets, with their values."""
    pass_env: frozenset[VariableName] | None = None
    """Variables the script gets from the daemon's environment, where they are set there."""
    limits: Limits | None = None
    """Bounds on what one attempt may use."""
    kubernetes: Pod | None = None
    """The pod of an attempt, where `runner` is `kubernetes`."""
    roots: tuple[str, ...] | None = None
    """Root elements accepted; `*` is any document, `empty` no body at all."""
    split_arguments: bool | None = None
    """`true`: the arguments, joined by blanks, are split again the way a shell does."""
    answer: tuple[str, ...] | None = None
    """Root elements of which the script must print one; an empty list takes any output."""
    test: WhenTested | None = None
    """The Test button: `run` the script, or only `check` that it could run."""
    fallback: Fallback | None = None
    """An answer that is given when an interactive script gives none."""

    def stated(self) -> dict[str, Any]:
        """Only what was stated, nested keys too."""
        return self.model_dump(exclude_unset=True)


class Policy(Strict):
    """The complete policy of one script. The fields are those of `StatedPolicy`."""

    kind: Kind = Kind.TRIGGER
    timeout: PositiveDuration
    grace: PositiveDuration
    retry: Retry = Retry()
    give_up_on: frozenset[ExitCode] = frozenset({64, 65, 77, 78})
    concurrency: int | None = None
    order: Order = Order.NONE
    runner: RunnerName = RunnerName.PROCESS
    preload: tuple[ModuleName, ...] = ()
    env: dict[VariableName, str] = Field(default_factory=dict)
    pass_env: frozenset[VariableName] = frozenset()
    limits: Limits = Limits()
    kubernetes: Pod = Pod()
    roots: tuple[str, ...]
    split_arguments: bool = False
    answer: tuple[str, ...]
    test: WhenTested = WhenTested.RUN
    fallback: Fallback | None = None

    @property
    def in_pod(self) -> bool:
        """Whether it runs in a pod, where the files and programs of this machine mean nothing."""
        return self.runner is RunnerName.KUBERNETES


class PolicyDefaults(Strict):
    """What the settings say of every script that does not say otherwise."""

    timeout: timedelta
    interactive_timeout: timedelta
    kind_timeouts: dict[Kind, timedelta] = Field(default_factory=dict)
    """Per kind; wins over the two above."""
    grace: timedelta
    retry: Retry
    env: dict[VariableName, str] = Field(default_factory=dict)
    """Variables every script gets; a policy adds to them, and wins where it names the same."""
    pass_env: frozenset[VariableName] = frozenset()
    """Variables every script gets from the daemon's environment, besides its policy's."""
    runner: RunnerName = RunnerName.PROCESS


def resolve(defaults: PolicyDefaults, *layers: StatedPolicy) -> Policy:
    """The policy of a script; each layer wins over those before it, key by key, nested too."""
    stated: dict[str, Any] = {}
    for layer in layers:
        stated = overlay(stated, layer.stated())
    kind = stated.get("kind") or Kind.TRIGGER
    usual = defaults.interactive_timeout if kind.interactive else defaults.timeout
    base = {
        "timeout": defaults.kind_timeouts.get(kind, usual),
        "grace": defaults.grace,
        "retry": defaults.retry.model_dump(),
        "roots": ROOTS[kind],
        "answer": ANSWERS[kind],
        "env": defaults.env,
        "runner": defaults.runner,
    }
    whole = overlay(base, {key: value for key, value in stated.items() if value is not None})
    whole["pass_env"] = defaults.pass_env | whole.get("pass_env", frozenset())
    return Policy.model_validate(whole)


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both merged, key by key and nested; `above` wins. Lists are replaced, not joined."""
    merged = dict(below)
    for key, stated in above.items():
        value: Any = stated
        under = merged.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = overlay(under, value)
        merged[key] = value
    return merged
