"""How one script is to be run: what the script says of itself, overridden by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from mediator.model.durations import Duration, PositiveDuration, Size
from mediator.model.kinds import ANSWERS, ROOTS, Kind
from mediator.model.pods import Pod
from mediator.model.strict import Strict as Strict

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
