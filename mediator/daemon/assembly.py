"""Which parts a mediator is made of, by the settings."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

import uuid_utils
from opentelemetry.trace import NoOpTracer

from mediator.catalog.environments.builder import builder
from mediator.catalog.environments.uv import Uv
from mediator.catalog.live import LiveScripts
from mediator.catalog.loader import ScriptsDirectory
from mediator.clock import SystemClock
from mediator.dispatch.attempt import AttemptMaker
from mediator.dispatch.dispatcher import Dispatcher, Pace
from mediator.dispatch.environment import warm_ahead
from mediator.dispatch.retention import Cleaner
from mediator.dispatch.slots import Slots
from mediator.errors import SettingsError, StoreUnavailable
from mediator.metrics import Metrics
from mediator.metrics.system import PARENTS
from mediator.model.signatures import Key, Verifier
from mediator.runners.factory import Runners
from mediator.runners.kubernetes.runner import KubernetesRunner
from mediator.runners.output import LiveOutputs
from mediator.runners.prefork import Parents
from mediator.runners.process import ProcessRunner
from mediator.settings.schema import Auth, Settings, Tracing
from mediator.settings.secrets import Secrets, read_secrets
from mediator.storage.factory import store_of
from mediator.storage.interface import DeliveryStore
from mediator.web.backpressure import Backpressure
from mediator.web.services import Check, Holder, Services

if TYPE_CHECKING:  # an extra, which is imported where it is used
    from mediator.tracing.otlp import OtlpExport


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The parts of one mediator, none of them started."""

    store: DeliveryStore
    scripts: LiveScripts
    runners: Runners
    slots: Slots
    dispatcher: Dispatcher
    cleaner: Cleaner
    services: Services
    metrics: Metrics
    spans: OtlpExport | None
    """what sends spans; None: they are not recorded"""
    keep_warm: Callable[[], None]
    """gets ready what scripts are forks of; does nothing before the runner has started"""


def assemble(settings: Settings, *, environ: Mapping[str, str]) -> Parts:
    """Make the parts. Reads the secrets; raises `SettingsError` when one is not there."""
    secrets = read_secrets(settings.auth)
    clock, metrics, live = SystemClock(), Metrics(), LiveOutputs()
    spans = make_export(settings.tracing)
    tracer = NoOpTracer() if spans is None else spans.tracer
    store = store_of(settings.store, metrics)
    scripts = _scripts(settings, metrics, environ)
    parents = Parents()
    here = ProcessRunner(settings.dispatch.work_directory, parents=parents)
    cluster = KubernetesRunner(settings.kubernetes) if settings.kubernetes.enabled else None
    runners = Runners(here=here, cluster=cluster)
    scripts.listen(lambda _: store.notices.work())
    keep_warm = _keep_warm(scripts, parents, dict(environ))
    scripts.listen(lambda _: keep_warm())
    scripts.listen(lambda _: _know(scripts, metrics))
    slots = _slots(settings, metrics)
    _show_limits(settings, parents, metrics)
    maker = AttemptMaker(
        store=store,
        runners=runners,
        metrics=metrics,
        clock=clock,
        daemon_environment=dict(environ),
        live=live,
        tracer=tracer,
        log_output=settings.log.script_output,
    )
    dispatcher = Dispatcher(
        owner=f"{socket.gethostname()}-{os.getpid()}-{uuid_utils.uuid4().hex[:8]}",
        store=store,
        scripts=scripts,
        slots=slots,
        maker=maker,
        clock=clock,
        pace=Pace(lease=settings.store.lease),
    )
    cleaner = Cleaner(
        store=store,
        settings=settings.retention,
        deduplicate=settings.dispatch.deduplicate,
        metrics=metrics,
        clock=clock,
    )
    backpressure = Backpressure(store, settings.store, clock)
    services = Services(
        store=store,
        scripts=scripts,
        verifier=_verifier(settings.auth, secrets),
        holders=_holders(settings.auth, secrets),
        metrics=metrics,
        clock=clock,
        body_limit=settings.http.body_limit,
        deduplicate=settings.dispatch.deduplicate,
        migration=settings.http.migration,
        routes=tuple(row.route for row in settings.routes),
        backpressure=backpressure,
        slots=slots,
        checks={**_checks(store, dispatcher), "disk": backpressure.disk},
        live=live,
        tracer=tracer,
    )
    return Parts(
        store=store,
        scripts=scripts,
        runners=runners,
        slots=slots,
        dispatcher=dispatcher,
        cleaner=cleaner,
        services=services,
        metrics=metrics,
        spans=spans,
        keep_warm=keep_warm,
    )


def _keep_warm(
    scripts: LiveScripts, parents: Parents, environ: Mapping[str, str]
) -> Callable[[], None]:
    def keep_warm() -> None:
        for warm, environment in warm_ahead(scripts.catalog.scripts.values(), environ):
            parents.want(warm, environment)

    return keep_warm


def _scripts(settings: Settings, metrics: Metrics, environ: Mapping[str, str]) -> LiveScripts:
    uv = Uv(settings=settings.environments, environ=dict(environ))
    return LiveScripts(ScriptsDirectory(settings=settings), builder(uv), metrics=metrics)


def _slots(settings: Settings, metrics: Metrics) -> Slots:
    trigger, interactive = settings.dispatch.slots, settings.dispatch.interactive_slots
    slots = Slots(trigger=trigger, interactive=interactive)
    for kind, size in ((False, trigger), (True, interactive)):
        running = partial(slots.running, interactive=kind)
        metrics.backlog.slots(interactive=kind, size=size, running=running)
    return slots


def _show_limits(settings: Settings, parents: Parents, metrics: Metrics) -> None:
    metrics.backlog.most_pending.set(settings.store.most_pending)
    metrics.backlog.most_pending_per_script.set(settings.store.most_pending_per_script)
    metrics.store.floor.set(settings.store.disk_floor)
    for state in PARENTS:
        metrics.catalog.parents(state, partial(parents.count, state))


def _know(scripts: LiveScripts, metrics: Metrics) -> None:
    found = scripts.catalog.scripts
    metrics.know({name: script.policy.kind.interactive for name, script in found.items()})


def _verifier(auth: Auth, secrets: Secrets) -> Verifier:
    keys = [
        Key(id=key.id, secret=secrets.keys[key.id].reveal().encode(), scripts=key.scripts)
        for key in auth.keys
    ]
    return Verifier(keys, window=auth.window)


def _holders(auth: Auth, secrets: Secrets) -> tuple[Holder, ...]:
    return tuple(
        Holder(name=token.name, role=token.role, secret=secrets.tokens[token.name])
        for token in auth.tokens
    )


def _checks(store: DeliveryStore, dispatcher: Dispatcher) -> dict[str, Check]:
    async def writable() -> str:
        try:
            await store.probe()
        except StoreUnavailable as error:
            return error.detail
        return ""

    async def looking() -> str:
        return "" if dispatcher.alive else "it has not looked for work for a while"

    return {"store": writable, "dispatcher": looking}


# Who records spans, by the settings.


def make_export(settings: Tracing) -> OtlpExport | None:
    """What records and sends spans. Raises `SettingsError` when its libraries are not there."""
    if not settings.enabled:
        return None
    try:
        # Not at the top: the libraries are an extra, and cost time and memory where unused.
        otlp = import_module("mediator.tracing.otlp")
    except ImportError as error:
        raise SettingsError(
            "tracing.enabled: spans need OpenTelemetry's libraries; install"
            " securechange-mediator[tracing], or turn it off"
        ) from error
    return cast("OtlpExport", otlp.OtlpExport(settings.endpoint))
