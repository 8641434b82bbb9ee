"""The settings: every key, its default and its bounds; what `mediator.yaml` looks like.

A tree that `mediator.settings.load.load` returns holds absolute paths. A tree built in code
holds what it was given; `Settings.anchored` makes its paths absolute. It is long because it is one
list, with a sentence for each key; the section `kubernetes` and the forms of `store.url` have a
module of their own.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mediator.model.durations import AnySize, Duration, PositiveDuration, Size
from mediator.model.policy import (
    Kind,
    PolicyDefaults,
    Retry,
    RunnerName,
    StatedPolicy,
    Strict,
    VariableName,
)
from mediator.model.routing import Route
from mediator.settings.kubernetes import Kubernetes
from mediator.settings.store_url import at_directory, check_store_url, is_sqlite, sqlite_path

Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
ScriptName = Annotated[str, StringConstraints(pattern=r"^[^/\x00]+$", max_length=255)]
Seconds = Annotated[PositiveDuration, Field(ge=timedelta(seconds=1))]
Patterns = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class Role(StrEnum):
    """What the holder of a token may do: hand over by the migration endpoint, look, or operate."""

    SENDER = "sender"
    VIEWER = "viewer"
    OPERATOR = "operator"


class LogLevel(StrEnum):
    """The least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How lines are written; `auto` is JSON when standard error is not a terminal."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Http(Strict):
    """Where the mediator listens."""

    host: str = "127.0.0.1"
    """Address or host name to listen on; default 127.0.0.1, in a container usually 0.0.0.0."""
    port: Port = 8080
    """Port of the API; default 8080, and 0 takes any free one, which the ready line names."""
    metrics_port: Port | None = None
    """Port of /metrics, /livez and /readyz; by default the same as `port`."""
    body_limit: Size = 16 * 2**20
    """Largest ticket that is accepted, in bytes or as 16MiB; default 16MiB."""
    console: bool = True
    """Show the console, pages for people with a token, at /console; default true."""
    migration: bool = False
    """Take hand-overs with a token instead of a signature, at /v1/migration; default false."""


class Watch(StrEnum):
    """How changes of the scripts directory are noticed."""

    AUTO = "auto"
    """the kernel tells; a file system that others write to over a network is polled"""
    POLL = "poll"
    NEVER = "never"


class Scripts(Strict):
    """Where the scripts are."""

    directory: Path = Path("scripts")
    """Directory of the scripts, relative to the settings file; default ./scripts."""
    watch: Watch = Watch.AUTO
    """How changes are noticed: `auto` (default), `poll`, or `never`, which waits for SIGHUP."""
    poll_every: PositiveDuration = timedelta(seconds=2)
    """How often `poll` looks, and `auto` where the kernel tells nothing (NFS); default 2s."""


class EnvironmentSettings(Strict):
    """Where the packages that scripts depend on come from, and the environments they go to."""

    directory: Path = Path("state/environments")
    """Directory of the environments, relative to the settings; default state/environments."""
    index_url: str | None = None
    """Package index instead of the usual one; by default what uv's own configuration says."""
    extra_index_urls: tuple[str, ...] = ()
    """Package indexes that are asked before that one; by default none."""
    wheels: tuple[Path, ...] = ()
    """Directories of wheels to take packages from besides; by default none."""
    offline: bool = False
    """`true`: nothing is fetched; all packages come from `wheels`, else from uv's cache."""
    python: Annotated[str, StringConstraints(pattern=r"^[^-\s]\S*$")] | None = None
    """Interpreter, a path or a version such as 3.12; by default the one a script names."""
    build_timeout: PositiveDuration = timedelta(minutes=10)
    """Time one environment may take to build; default 10m."""
    keep_unused: Duration = timedelta(days=7)
    """Time an environment is kept that no script needs any more; default 7d."""

    def anchored(self, base: Path) -> Self:
        """The same with every path taken from `base`."""
        update = {
            "directory": base / self.directory,
            "wheels": tuple(base / directory for directory in self.wheels),
        }
        return self.model_copy(update=update)


class Store(Strict):
    """Where deliveries are kept."""

    url: str = "sqlite:///state/mediator.db"
    """Database: sqlite:///FILE beside the settings, sqlite:////FILE, or postgresql://USER@HOST/DB."""
    password_file: Path | None = None
    """File whose first line is PostgreSQL's password; by default none, or libpq's own ways."""
    lease: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=60)
    """Time without a sign of a mediator after which others take over what it ran; default 60s."""
    most_pending: Annotated[int, Field(ge=1)] = 1_000_000
    """Deliveries that may wait, interactive ones aside; beyond it intake answers 503."""
    most_pending_per_script: Annotated[int, Field(ge=1)] = 500_000
    """The same for each script, where intake answers 429."""
    disk_floor: AnySize = 200 * 2**20
    """Space on the disk below which intake answers 503; default 200MiB, and 0 turns it off."""

    @field_validator("url")
    @classmethod
    def _supported(cls, url: str) -> str:
        check_store_url(url)
        return url

    @property
    def path(self) -> Path | None:
        """The database file, absolute in loaded settings; None: the store is not a file."""
        return sqlite_path(self.url) if is_sqlite(self.url) else None

    def anchored(self, base: Path) -> Self:
        """The same with every path taken from `base`."""
        password = self.password_file
        update = {
            "url": at_directory(self.url, base),
            "password_file": None if password is None else base / password,
        }
        return self.model_copy(update=update)


class Retention(Strict):
    """How long ended deliveries are kept: at least 1h, and as long as `dispatch.deduplicate`."""

    succeeded: Duration = timedelta(days=30)
    """Time a delivery is kept that succeeded; default 30d, and 0s keeps it for ever."""
    cancelled: Duration = timedelta(days=30)
    """The same for one that was cancelled; default 30d."""
    dead: Duration = timedelta(days=180)
    """The same for one that is dead; default 180d."""
    most: Annotated[int, Field(ge=0)] = 1_000_000
    """Deliveries that are kept of each of these states, the last to end; 0 keeps any number."""


class Credential(Strict):
    """Something whose secret is in a file."""

    secret_file: Path
    """File whose first line is the secret: at least 32 characters; `mediator new-key` makes one."""

    def anchored(self, base: Path) -> Self:
        """The same with the file taken from `base`."""
        return self.model_copy(update={"secret_file": base / self.secret_file})


class SigningKey(Credential):
    """A key that hand-overs are signed with."""

    id: Name
    """Name of the key, which signatures carry as `keyid`."""
    scripts: frozenset[ScriptName] | None = None
    """Scripts the key may hand over to, by exact file name; by default all."""


class Token(Credential):
    """A bearer token of the operator API."""

    name: Name
    """Name of the holder, which logs show."""
    role: Role
    """`viewer` may look; `operator` may also retry and cancel; `sender` may only hand over."""


class Auth(Strict):
    """Who may hand over tickets, and who may look and operate."""

    window: PositiveDuration = timedelta(seconds=300)
    """Largest difference between a signature's time and the clock here; default 300s."""
    keys: tuple[SigningKey, ...] = Field(
        default=(SigningKey(id="securechange", secret_file=Path("securechange.key")),),
        min_length=1,
    )
    """Keys of hand-overs, several while rotating; by default `securechange` in securechange.key."""
    tokens: tuple[Token, ...] = ()
    """Bearer tokens of the operator API; by default none, and the API is closed."""

    def anchored(self, base: Path) -> Self:
        """The same with every secret's file taken from `base`."""
        return self.model_copy(
            update={
                "keys": tuple(key.anchored(base) for key in self.keys),
                "tokens": tuple(token.anchored(base) for token in self.tokens),
            }
        )

    @field_validator("keys")
    @classmethod
    def _unique_ids(cls, keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
        _refuse_twins("id", [key.id for key in keys])
        return keys

    @field_validator("tokens")
    @classmethod
    def _unique_names(cls, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        _refuse_twins("name", [token.name for token in tokens])
        return tokens


class Dispatch(Strict):
    """How scripts are run, unless their policies say otherwise."""

    slots: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Attempts of trigger scripts that run at once; default 8."""
    interactive_slots: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Attempts of interactive scripts that run at once, in slots of their own; default 4."""
    timeout: PositiveDuration = timedelta(minutes=5)
    """Time one attempt of a trigger script may take before SIGTERM; default 5m."""
    interactive_timeout: PositiveDuration = timedelta(seconds=30)
    """Time one attempt of an interactive script may take before SIGTERM; default 30s."""
    kind_timeouts: dict[Kind, PositiveDuration] = Field(default_factory=dict)
    """The same per kind, such as {condition: 10s}; wins over the two above; by default none."""
    grace: PositiveDuration = timedelta(seconds=10)
    """Time from SIGTERM to SIGKILL; default 10s."""
    drain: Duration = timedelta(seconds=30)
    """Time running attempts get to end by themselves at shutdown; default 30s."""
    runner: RunnerName = RunnerName.PROCESS
    """What runs the attempts: `process` (default), `warm`, or `kubernetes`."""
    retry: Retry = Retry()
    """When a failed attempt of a trigger script is made again."""
    deduplicate: Duration = timedelta(hours=24)
    """Time in which the same content is one delivery; default 24h, and 0s turns it off."""
    work_directory: Path = Path("state/work")
    """Directory of the attempts' working directories; default state/work beside the settings."""
    env: dict[VariableName, str] = Field(default_factory=dict)
    """Variables every script gets, with their values; by default none."""
    pass_env: frozenset[VariableName] = frozenset()
    """Variables every script gets from the mediator's environment; by default none."""


class Log(Strict):
    """What is logged, and how."""

    level: LogLevel = LogLevel.INFO
    """Least important lines that are written: debug, info, warning or error; default info."""
    format: LogFormat = LogFormat.AUTO
    """`json`, `console`, or by default `auto`: JSON when standard error is not a terminal."""
    script_output: bool = False
    """Log each line that scripts write; it may hold what tickets say; default false."""


class Tracing(Strict):
    """Spans for OpenTelemetry; needs the extra `tracing`."""

    enabled: bool = False
    """Record spans and send them by OTLP over HTTP; default false."""
    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None
    """Base URL of the collector; by default what OTEL_EXPORTER_OTLP_ENDPOINT says."""


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


class RouteRow(Strict):
    """One row of the routing table: patterns such as `Fire*`, and scripts."""

    event: Patterns = ()
    """Events (`SCW_EVENT`), one or a list; by default any."""
    workflow: str | None = None
    """Workflow, as the trigger's arguments in SecureChange name it; by default any."""
    step: str | None = None
    """Name of the step; by default any."""
    priority: str | None = None
    """Name of the priority; by default any."""
    subject: str | None = None
    """Subject of the ticket; by default any."""
    scripts: Annotated[tuple[ScriptName, ...], Field(min_length=1)]
    """Scripts that get the event, by exact file name."""

    @property
    def route(self) -> Route:
        """As the model has it."""
        return Route(**{name: getattr(self, name) for name in type(self).model_fields})


class Settings(BaseSettings):
    """The whole tree. Building one reads nothing: `mediator.settings.load` does."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=False
    )

    http: Http = Http()
    """Where the mediator listens."""
    scripts: Scripts = Scripts()
    """Where the scripts are."""
    environments: EnvironmentSettings = EnvironmentSettings()
    """Where the packages that scripts depend on come from, and the environments they go to."""
    store: Store = Store()
    """Where deliveries are kept."""
    retention: Retention = Retention()
    """How long ended deliveries are kept: at least 1h, and as long as `dispatch.deduplicate`."""
    auth: Auth = Auth()
    """Who may hand over tickets, and who may look and operate."""
    dispatch: Dispatch = Dispatch()
    """How scripts are run, unless their policies say otherwise."""
    kubernetes: Kubernetes = Kubernetes()
    """Where attempts run as Jobs, for scripts whose runner is `kubernetes`."""
    log: Log = Log()
    """What is logged, and how."""
    tracing: Tracing = Tracing()
    """Spans for OpenTelemetry; needs the extra `tracing`."""
    shim: Shim = Shim()
    """The shim in SecureChange's pod: `mediator shim push`, `verify`, `watch` and `bundle`."""
    routes: tuple[RouteRow, ...] = ()
    """Which scripts an event goes to that is handed over without naming one; by default none."""
    policies: dict[ScriptName, StatedPolicy] = Field(default_factory=dict)
    """Policies by exact script name; they win over what a script says of itself."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_ambient: PydanticBaseSettingsSource,
        **_more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the arguments: no variable of the process's environment slips in."""
        del settings_cls
        return (init_settings,)

    @property
    def policy_defaults(self) -> PolicyDefaults:
        """What `mediator.model.policy.resolve` starts from."""
        return PolicyDefaults(
            timeout=self.dispatch.timeout,
            interactive_timeout=self.dispatch.interactive_timeout,
            kind_timeouts=self.dispatch.kind_timeouts,
            grace=self.dispatch.grace,
            retry=self.dispatch.retry,
            env=self.dispatch.env,
            pass_env=self.dispatch.pass_env,
            runner=self.dispatch.runner,
        )

    def anchored(self, directory: Path) -> Self:
        """The same settings with every relative path taken from `directory`."""
        base = directory.absolute()
        return self.model_copy(
            update={
                "scripts": self.scripts.model_copy(
                    update={"directory": base / self.scripts.directory}
                ),
                "environments": self.environments.anchored(base),
                "store": self.store.anchored(base),
                "auth": self.auth.anchored(base),
                "shim": self.shim.anchored(base),
                "kubernetes": self.kubernetes.anchored(base),
                "dispatch": self.dispatch.model_copy(
                    update={"work_directory": base / self.dispatch.work_directory}
                ),
            }
        )


def _refuse_twins(key: str, names: list[str]) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise ValueError(f"the {key} {', '.join(twins)} is given more than once; choose another")
