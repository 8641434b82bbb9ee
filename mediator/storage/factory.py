"""Which store the settings ask for, and its schema."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from mediator.errors import SettingsError, StoreUnavailable
from mediator.metrics import Metrics
from mediator.settings.schema import Store
from mediator.settings.secrets import read_password
from mediator.settings.store_url import postgresql_url
from mediator.storage import sqlite
from mediator.storage.interface import DeliveryStore
from mediator.storage.schema import HISTORY, SchemaHistory
from mediator.storage.sqlite import SqliteDatabase, SqliteStore

if TYPE_CHECKING:
    from mediator.storage.postgres import Server


def store_of(settings: Store, metrics: Metrics | None = None) -> DeliveryStore:
    """The store, not opened; it is measured by `metrics`. Raises `SettingsError`."""
    if settings.path is not None:
        if settings.password_file is not None:
            raise SettingsError("store.password_file: SQLite has no password; leave the key out")
        return SqliteStore(settings.path, metrics=metrics)
    server = _server(settings)
    store: DeliveryStore = _postgres().PostgresStore(server, metrics=metrics)
    return store


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """How the schema of a store is."""

    before: str | None
    """as it was found; None: there was none"""
    newest: str | None
    """as this program has it"""


def migrate(settings: Store, *, only_look: bool, history: SchemaHistory = HISTORY) -> Schema:
    """Bring the schema up to date, or only look at it.

    Raises `SettingsError` when it is newer than this program, and `StoreUnavailable`.
    """
    if settings.path is not None:
        before = _migrate_file(settings.path, history, only_look=only_look)
    else:
        before = _migrate_server(_server(settings), history, only_look=only_look)
    return Schema(before=before, newest=history.newest())


def _migrate_file(path: Path, history: SchemaHistory, *, only_look: bool) -> str | None:
    """A file is upgraded by whoever opens it."""
    with sqlite.read_only(path) as connection:
        before = None if connection is None else history.revision(connection)
    if not only_look:
        database = SqliteDatabase(path, history=history)
        database.open()
        database.close()
    return before


def _migrate_server(server: Server, history: SchemaHistory, *, only_look: bool) -> str | None:
    before: list[str | None] = []

    def work(connection: Connection) -> None:
        before[:] = [history.revision(connection)]
        if not only_look:
            history.upgrade(connection)

    _postgres().once(server, work)
    return before[0]


def _server(settings: Store) -> Server:
    """Raises `SettingsError` when the driver or the password is not there."""
    if find_spec("psycopg") is None:
        raise SettingsError(
            "store.url: PostgreSQL needs its driver; run `pip install"
            " 'securechange-mediator[postgresql]'` where the mediator is installed"
        )
    _password(settings)  # what is wrong with it is said now

    def password() -> str | None:
        try:
            return _password(settings)
        except SettingsError as error:
            raise StoreUnavailable(f"the store cannot be used now: {error}") from error

    server: Server = _postgres().Server(url=postgresql_url(settings.url), password=password)
    return server


def _password(settings: Store) -> str | None:
    file = settings.password_file
    return None if file is None else read_password(file, key="store.password_file").reveal()


def _postgres() -> Any:
    """Imported where it is used: without its driver the mediator does all the rest."""
    return import_module("mediator.storage.postgres")
