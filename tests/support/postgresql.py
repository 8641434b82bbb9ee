"""A PostgreSQL server that tests start for themselves, with a database for each of them.

One server for each process that runs tests. It is durable only where a test asks for that: killing
the server itself loses nothing that was written, because the operating system lives on.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from mediator.storage.postgres import Server, once
from mediator.storage.schema import HISTORY

_SECONDS = 60
_TEMPLATE = "template_mediator"
_SETTINGS = """
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 100
autovacuum_naptime = 5s
log_lock_waits = on
deadlock_timeout = 200ms
"""
DURABLE = """
fsync = on
full_page_writes = on
shared_buffers = 128MB
autovacuum_naptime = 1min
"""
"""As PostgreSQL is by itself: what measures wants this, and who tests has no time for it."""


def binaries() -> Path:
    """Where the server's programs are; Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[4])
    here = shutil.which("initdb")
    assert found or here, "no PostgreSQL: install the Debian package postgresql"
    return found[-1].parent if found else Path(str(here)).resolve().parent


@dataclass
class Postgresql:
    """One server."""

    home: Path
    settings: str = ""
    """lines of postgresql.conf that win over those of the tests"""
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def data(self) -> Path:
        """The server's own directory."""
        return self.home / "data"

    def create(self) -> None:
        """Make the files, and a database that others are copies of."""
        owner = _owner()
        if owner:
            shutil.chown(self.home, owner)
        arguments = ["-A", "trust", "-U", "mediator", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [*_as(owner), binaries() / "initdb", "-D", self.data, *arguments],
            check=True,
            capture_output=True,
            cwd=self.home,
        )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{_SETTINGS}{self.settings}unix_socket_directories = '{self.home}'\n")
        self.start()
        self.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
        once(Server(url=self.url(_TEMPLATE)), HISTORY.upgrade)

    def start(self) -> None:
        """Start the server and wait until it answers; again on the same port."""
        self.port = self.port or _free_port()
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as(_owner()), binaries() / "postgres", "-D", self.data, "-p", str(self.port)],
                stdout=log,
                stderr=log,
                cwd=self.home,
            )
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < deadline, (self.home / "log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """As a crash would: all of the server at once."""
        assert self.process is not None
        children = _children(self.process.pid)
        self.process.kill()
        self.process.wait(_SECONDS)
        for child in children:  # they notice by themselves, and the port must be free
            _wait_for_end(child)
        self.process = None

    def stop(self) -> None:
        """An orderly end, without waiting for those who are connected."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(_SECONDS)
            self.process = None

    def url(self, database: str) -> str:
        """As settings have it."""
        return f"postgresql://mediator@127.0.0.1:{self.port}/{database}"

    def run(self, statement: sql.Composed, database: str = "postgres") -> None:
        """One statement of an administrator."""
        with psycopg.connect(make_conninfo(self.url(database)), autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """A new database with the schema, or an empty one; its URL."""
        name = f"test_{next(self._numbers)}"
        template = sql.Identifier("template0" if empty else _TEMPLATE)
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.run(made.format(sql.Identifier(name), template))
        yield self.url(name)
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def running(settings: str = "", *, directory: Path | None = None) -> Iterator[Postgresql]:
    """A server, until the end; its files in `directory`."""
    with tempfile.TemporaryDirectory(prefix="mediator-pg-", dir=directory) as home:
        server = Postgresql(Path(home), settings)
        server.create()
        try:
            yield server
        finally:
            server.stop()


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    """The answer to one statement, as a person at `psql` gets it."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _owner() -> str:
    """Whose the server is: it refuses to be root's."""
    if os.geteuid():
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _as(owner: str) -> list[str]:
    return ["setpriv", f"--reuid={owner}", "--clear-groups", "--"] if owner else []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
