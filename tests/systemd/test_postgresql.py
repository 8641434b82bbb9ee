"""A service whose store is a PostgreSQL of the same machine, with its password as a credential."""

from __future__ import annotations

import pytest

from tests.systemd.machine import Machine

pytestmark = pytest.mark.timeout(900)
HELLO = "#!/bin/bash\necho hello\n"
ROLE = """
CREATE ROLE mediator LOGIN PASSWORD 'a password of its own';
CREATE DATABASE mediator OWNER mediator ENCODING 'UTF8' TEMPLATE template0;
"""
CREDENTIAL = """[Service]
LoadCredential=database.password:/etc/mediator/credentials/database.password
"""
STORE = """
store:
  url: postgresql://mediator@127.0.0.1/mediator
  password_file: $CREDENTIALS_DIRECTORY/database.password
"""


@pytest.fixture(scope="module")
def service(host: Machine) -> Machine:
    """What docs/how-to/systemd.md says about a further secret, done."""
    assert host.install("--extras").returncode == 0
    host.do("runuser", "-u", "postgres", "--", "psql", stdin=ROLE.encode())
    host.write("/etc/mediator/credentials/database.password", "a password of its own\n", "0600")
    host.write("/etc/systemd/system/mediator.service.d/database.conf", CREDENTIAL)
    settings = host.bash("sed '/^store:/,/^  url/d' /etc/mediator/mediator.yaml")
    host.write("/etc/mediator/mediator.yaml", settings + STORE)
    host.bash("systemctl daemon-reload; systemctl restart mediator")
    host.script("hello.sh", HELLO)
    return host


def test_a_ticket_is_kept_in_the_database(service: Machine) -> None:
    identifier = service.hand_over("hello")
    assert service.ended(identifier)["state"] == "succeeded"
    count = "SELECT count(*) FROM deliveries"
    command = ("runuser", "-u", "postgres", "--", "psql", "-tA", "mediator", "-c", count)
    assert service.do(*command) == "1"


def test_a_database_that_comes_up_later_is_waited_for(service: Machine) -> None:
    service.do("systemctl", "stop", "mediator", "postgresql")
    service.do("systemctl", "start", "--no-block", "mediator")
    service.do("systemctl", "start", "postgresql")
    service.await_state("active")
    assert service.ended(service.hand_over("hello", "later"))["state"] == "succeeded"
