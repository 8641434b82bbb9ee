"""install.sh: a mediator from nothing, nothing more when it is there, and away again."""

from __future__ import annotations

import pytest

from tests.systemd.machine import Machine

pytestmark = pytest.mark.timeout(600)
SCRIPT = '#!/bin/bash\nread -r -N 12 start\necho "$1 $start"\n'
KEPT = ["/etc/mediator", "/var/lib/mediator", "/srv/mediator"]
REMOVED = [
    *("/opt/mediator", "/usr/local/bin/mediator", "/etc/systemd/system/mediator.service"),
    "/etc/systemd/system/mediator.service.d",
]


def test_a_first_run_leaves_a_mediator_that_runs_scripts(installed: Machine) -> None:
    installed.script("hello.sh", SCRIPT)
    delivery = installed.ended(installed.hand_over("hello", "first argument"))
    assert delivery["state"] == "succeeded"
    assert delivery["attempts"][0]["stdout"] == "first argument <ticket_info\n"
    assert installed.show("UnitFileState") == "enabled"
    assert installed.show("StatusText").startswith("taking work at http://0.0.0.0:8080")


def snapshot(machine: Machine) -> str:
    places = "/opt/mediator /etc/mediator /etc/systemd /srv /usr/local"
    return machine.bash(f"find {places} -printf '%p %y %m %u %g %T@\\n' | sort")


def test_a_second_run_changes_nothing_and_says_so(installed: Machine) -> None:
    before, pid = snapshot(installed), installed.show("MainPID")
    told = installed.install()
    assert told.returncode == 0
    assert told.stderr.startswith("install.sh: nothing to do: 0.1.0-")
    assert len(told.stderr.splitlines()) == 1
    assert (snapshot(installed), installed.show("MainPID")) == (before, pid)


def test_what_the_administrator_changed_stays(installed: Machine) -> None:
    installed.bash("echo '# mine' >>/etc/mediator/mediator.yaml")
    key = installed.bash("cat /etc/mediator/credentials/securechange.key")
    assert installed.install().returncode == 0
    assert installed.bash("tail -n 1 /etc/mediator/mediator.yaml") == "# mine"
    assert installed.bash("cat /etc/mediator/credentials/securechange.key") == key


def test_what_an_administrator_calls_finds_settings_and_secrets(installed: Machine) -> None:
    installed.do("mediator", "check")
    installed.do("mediator", "status")
    installed.do("mediator", "shim", "bundle", "/root/pod", "--url", "http://mediator.example:8080")
    key = "/etc/mediator/credentials/securechange.key"
    installed.bash(f"cmp /root/pod/securechange-shim.key {key}")
    installed.bash("install -d -o mediator /var/backups/mediator")
    backup = "/var/backups/mediator/mediator.db"
    installed.do("runuser", "-u", "mediator", "--", "mediator", "backup", backup)
    assert installed.bash("find /var/lib/mediator ! -user mediator") == ""
    installed.bash("rm -r /var/backups/mediator")


def test_a_stopped_mediator_is_started(installed: Machine) -> None:
    installed.do("systemctl", "stop", "mediator")
    told = installed.install()
    assert told.returncode == 0
    assert "starting mediator.service" in told.stderr
    assert installed.show("ActiveState") == "active"


def test_the_units_have_no_fault(installed: Machine) -> None:
    told = installed.run("systemd-analyze", "verify", "/etc/systemd/system/mediator.service")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        pytest.param(
            "setpriv --reuid=nobody deploy/install.sh", "needs root: run it by sudo", id="not root"
        ),
        pytest.param(
            "unshare -m bash -c 'mount -t tmpfs none /run/systemd && deploy/install.sh'",
            "systemd does not run here",
            id="no systemd",
        ),
        pytest.param(
            "unshare -m bash -c 'mount --bind /bin/false /usr/bin/python3.11 && deploy/install.sh'",
            "this needs Python 3.11 or newer",
            id="no Python that is new enough",
        ),
        pytest.param("deploy/install.sh --strickt", "no option --strickt", id="no such option"),
        pytest.param(
            "deploy/install.sh --purge --strict", "--purge takes no other option", id="nonsense"
        ),
        pytest.param(
            "flock /run/lock/mediator-install deploy/install.sh",
            "another run of install.sh is at work",
            id="two at once",
        ),
    ],
)
def test_what_keeps_it_from_installing_is_said(
    installed: Machine, command: str, sentence: str
) -> None:
    told = installed.run("bash", "-c", f"cd /share/checkout && {command}")
    assert told.returncode == 1
    assert sentence in told.stderr.splitlines()[-1]


def test_uninstalling_keeps_state_and_keys_and_a_new_run_finds_them(installed: Machine) -> None:
    installed.script("hello.sh", SCRIPT)
    identifier = installed.hand_over("hello", "before")
    installed.ended(identifier)
    told = installed.install("--uninstall")
    assert told.returncode == 0
    assert [path for path in REMOVED if installed.exists(path)] == []
    assert [path for path in KEPT if not installed.exists(path)] == []
    assert installed.run("systemctl", "cat", "mediator.service").returncode != 0
    assert installed.install().returncode == 0
    assert installed.delivery(identifier)["state"] == "succeeded"


def test_purging_leaves_nothing(installed: Machine) -> None:
    told = installed.install("--purge")
    assert told.returncode == 0
    assert [path for path in [*REMOVED, *KEPT] if installed.exists(path)] == []
    assert installed.run("getent", "passwd", "mediator").returncode != 0
    assert installed.run("find", "/", "-xdev", "-user", "mediator").stdout == ""
