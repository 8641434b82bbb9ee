"""Which store the settings ask for, and its schema."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from mediator.errors import SettingsError, StoreUnavailable
from mediator.settings.schema import Store
from mediator.settings.secrets import read_password
from mediator.settings.store_url import postgresql_url
from mediator.storage import schema, sqlite
from mediator.storage.interface import DeliveryStore
from mediator.storage.sqlite import SqliteDatabase
from mediator.storage.store import SqliteStore

if TYPE_CHECKING:
    from mediator.storage.postgres import Server


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """How the schema of a store is."""

    before: str | None
    """as it was found; None: there was none"""
    newest: str | None
    """as this program has it"""


def store_of(settings: Store) -> DeliveryStore:
    """The store, not opened. Raises `SettingsError`."""
    if settings.path is not None:
        if settings.password_file is not None:
            raise SettingsError("store.password_file: SQLite has no password; leave the key out")
        return SqliteStore(settings.path)
    server = _server(settings)
    store: DeliveryStore = import_module("mediator.storage.postgresql_store").PostgresqlStore(
        server
    )
    return store


def migrate(settings: Store, *, only_look: bool) -> Schema:
    """Bring the schema up to date, or only look at it.

    Raises `SettingsError` when it is newer than this program, and `StoreUnavailable`.
    """
    if settings.path is not None:
        return _migrate_file(settings, only_look=only_look)
    postgresql = import_module("mediator.storage.postgres")
    before: list[str | None] = []

    def work(connection: Connection) -> None:
        before[:] = [schema.revision(connection)]
        if not only_look:
            schema.upgrade(connection)

    postgresql.once(_server(settings), work)
    return Schema(before=before[0], newest=schema.newest())


def _migrate_file(settings: Store, *, only_look: bool) -> Schema:
    """A file is upgraded by whoever opens it."""
    assert settings.path is not None  # noqa: S101 - asked by the caller
    with sqlite.looking(settings.path) as connection:
        before = None if connection is None else schema.revision(connection)
    if not only_look:
        database = SqliteDatabase(settings.path)
        database.open()
        database.close()
    return Schema(before=before, newest=schema.newest())


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

    found: Server = import_module("mediator.storage.postgres").Server(
        url=postgresql_url(settings.url), password=password
    )
    return found


def _password(settings: Store) -> str | None:
    file = settings.password_file
    return None if file is None else read_password(file, key="store.password_file").reveal()
