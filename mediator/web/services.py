"""What the handlers work with, handed to them by the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from aiohttp import web
from opentelemetry.trace import NoOpTracer, Tracer

from mediator.catalog.script import Catalog
from mediator.clock import Clock
from mediator.errors import Draining
from mediator.metrics import Metrics
from mediator.model.routing import Route
from mediator.model.signatures import Verifier
from mediator.runners.output import LiveOutputs
from mediator.settings.schema import Role
from mediator.settings.secrets import Secret
from mediator.storage.interface import DeliveryStore
from mediator.web.backpressure import Backpressure

Check = Callable[[], Awaitable[str]]
"""Looks at one part; returns what is wrong with it, or nothing."""


class CurrentCatalog(Protocol):
    """Where the current catalog is found."""

    @property
    def catalog(self) -> Catalog:
        """The scripts as they are now."""
        ...


class CallSlots(Protocol):
    """How many attempts may run at once, by who waits: a person (`interactive`) or nobody."""

    def size(self, *, interactive: bool) -> int:
        """Attempts that may run."""
        ...

    def running(self, *, interactive: bool) -> int:
        """Attempts that run."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who a bearer token belongs to."""

    name: str
    role: Role
    secret: Secret = field(repr=False)


@dataclass(kw_only=True, slots=True)
class Services:
    """Everything a handler may use."""

    store: DeliveryStore
    scripts: CurrentCatalog
    verifier: Verifier
    holders: tuple[Holder, ...]
    metrics: Metrics
    clock: Clock
    body_limit: int
    """bytes of the largest ticket"""
    deduplicate: timedelta
    backpressure: Backpressure
    """lets in what there is room for"""
    slots: CallSlots
    """who tells how many attempts run here, and may"""
    checks: Mapping[str, Check]
    """readiness, part by part"""
    migration: bool = False
    """whether hand-overs with a token are taken"""
    routes: tuple[Route, ...] = ()
    """which scripts an event goes to that names none"""
    live: LiveOutputs = field(default_factory=LiveOutputs)
    """what running attempts have written so far"""
    tracer: Tracer = field(default_factory=NoOpTracer)
    """records spans"""
    body_seconds: float = 60.0
    """how long a ticket may take to arrive"""
    draining: bool = False
    """true when the daemon goes down: nothing new is taken"""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """set when the daemon goes down and nothing runs any more: waiting has no sense"""

    def refuse_while_draining(self) -> None:
        """Raise `Draining` when the daemon goes down."""
        if self.draining:
            raise Draining("The mediator is shutting down; try again in a few seconds.")


SERVICES = web.AppKey("services", Services)
