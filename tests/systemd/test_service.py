"""A mediator under systemd: it runs scripts, and loses nothing however it is stopped."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.support.conditions import eventually_true
from tests.support.wheels import make_wheel
from tests.systemd.machine import SHIM, Machine

pytestmark = pytest.mark.timeout(600)
CALLS = 40
WAITS = """#!/bin/bash
# Runs until somebody makes the file that the first argument names.
touch "/var/lib/mediator/$1.started"
until [[ -e /var/lib/mediator/$1.go ]]; do sleep 0.05; done
"""
PACKAGED = """#!/usr/bin/env python3
# /// script
# dependencies = ["greeting"]
# ///
import greeting
print(greeting.VALUE)
"""
WARM = """#!/usr/bin/env python3
# /// script
# [tool.mediator]
# runner = "warm"
# ///
import os, socket, subprocess, threading
socket.getaddrinfo("localhost", 80)
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
here = socket.create_server(("127.0.0.1", 0))
socket.create_connection(here.getsockname()).close()
print(subprocess.run(["bash", "-c", "echo forked"], capture_output=True, text=True).stdout)
with open("note", "w") as file:
    file.write("below the working directory")
with open("/var/lib/mediator/note", "w") as file:
    file.write("below the state directory")
"""
LEAVES = """#!/bin/bash
setsid bash -c 'sleep 1000' 2>/dev/null >/dev/null </dev/null &
sleep 0.1
"""
PROBES = """#!/bin/bash
set -o pipefail
: "${2:?}"
env | grep -c -e CREDENTIALS -e NOTIFY_SOCKET -e WATCHDOG
touch /srv/mediator/scripts/mine 2>/dev/null && echo wrote scripts
touch /etc/mediator/mine 2>/dev/null && echo wrote settings
touch /opt/mediator/mine 2>/dev/null && echo wrote the program
cat /etc/mediator/credentials/* 2>/dev/null && echo read the secrets
ls /root 2>/dev/null && echo saw homes
exit 0
"""
STORM = """
share=/share/checkout
cd /tmp; rm -f codes
for caller in 1 2 3 4; do
    for call in $(seq "$caller" 4 "$1"); do
        bash $share/bash_shim/securechange-shim count.sh "$2 $call" \\
            <$share/deploy/quickstart.d/ticket.xml 2>/dev/null
        echo "$?" >>codes
    done &
done
for restart in 1 2 3; do
    until (( $(wc -l <codes 2>/dev/null || echo 0) >= restart * 8 )); do sleep 0.02; done
    systemctl restart mediator
done
wait
sort codes | uniq -c
"""
COUNT = '#!/bin/bash\necho "$1" >>/var/lib/mediator/counted\n'


@pytest.fixture(scope="module", params=["as it comes", "strict"])
def service(host: Machine, request: pytest.FixtureRequest) -> Machine:
    """A mediator whose packages come from a directory; the same tests hold for both units."""
    told = host.install(*(["--strict"] if request.param == "strict" else []))
    assert told.returncode == 0, told.stderr
    make_wheel(host.share / "packages", "greeting", "1.5")
    wheels = "s#^environments:#&\\n  offline: true\\n  wheels: [/share/packages]#"
    settings = "/etc/mediator/mediator.yaml"
    host.bash(f"grep -q wheels {settings} || sed -i '{wheels}' {settings}")
    host.do("systemctl", "restart", "mediator")
    return host


def test_a_script_gets_its_packages_by_uv(service: Machine) -> None:
    service.script("packaged.py", PACKAGED)
    delivery = service.ended(service.hand_over("packaged", service.name))
    assert delivery["attempts"][0]["stdout"] == "1.5\n"


def test_a_warm_script_forks_connects_and_writes(service: Machine) -> None:
    service.script("warm.py", WARM)
    delivery = service.ended(service.hand_over("warm", service.show("MainPID")))
    assert delivery["state"] == "succeeded", delivery
    assert service.bash("cat /var/lib/mediator/note") == "below the state directory"


def test_nothing_that_a_script_leaves_behind_lives_on(service: Machine) -> None:
    service.script("leaves.sh", LEAVES)
    delivery = service.ended(service.hand_over("leaves", service.show("MainPID")))
    assert delivery["state"] == "succeeded", delivery
    assert service.run("pgrep", "-f", "sleep 1000").stdout == ""


def test_a_script_cannot_change_the_service_nor_find_its_secrets(service: Machine) -> None:
    service.script("probes.sh", PROBES)
    delivery = service.ended(service.hand_over("probes", "for", service.show("MainPID")))
    assert delivery["attempts"][0]["stdout"] == "0\n"
    assert delivery["attempts"][0]["exit_code"] == 0


def test_secrets_belong_to_root_and_to_nobody_else(service: Machine) -> None:
    line = "stat -c '%a %U' /etc/mediator/credentials /etc/mediator/credentials/*"
    assert service.bash(line).split("\n") == ["700 root", "600 root", "600 root"]
    copies = "/run/credentials/mediator.service"
    assert service.run("setpriv", "--reuid=nobody", "ls", copies).returncode != 0


def test_restarts_under_load_lose_nothing(service: Machine) -> None:
    service.do("rm", "-f", "/var/lib/mediator/counted")
    service.script("count.sh", COUNT)
    fresh = service.show("MainPID")  # so that no call says the same as one before this test
    told = service.run("bash", "-c", STORM, "bash", str(CALLS), fresh, environment=SHIM)
    assert told.stdout.split() == [str(CALLS), "0"], told
    eventually_true(lambda: len(_counted(service)) == CALLS)
    expected = Counter({f"{fresh} {call}": 1 for call in range(1, CALLS + 1)})
    assert _counted(service) == expected


def _counted(service: Machine) -> Counter[str]:
    return Counter(service.run("cat", "/var/lib/mediator/counted").stdout.splitlines())


def waiting(service: Machine, name: str) -> str:
    """A delivery whose script runs until `name`.go is there."""
    service.do("bash", "-c", f"rm -f /var/lib/mediator/{name}.*")
    service.script("waits.sh", WAITS)
    identifier = service.hand_over("waits", name, service.show("MainPID"))
    service.await_file(f"/var/lib/mediator/{name}.started")
    return identifier


def let_go(service: Machine, name: str) -> None:
    service.do("touch", f"/var/lib/mediator/{name}.go")


def test_a_stop_lets_scripts_end(service: Machine) -> None:
    identifier = waiting(service, "stop")
    service.do("systemctl", "stop", "--no-block", "mediator")
    eventually_true(lambda: service.show("StatusText") == "draining; attempts running: 1")
    assert service.show("ActiveState") == "deactivating"
    let_go(service, "stop")
    service.await_state("inactive")
    assert service.show("Result") == "success"
    service.do("systemctl", "start", "mediator")
    delivery = service.delivery(identifier)
    assert (delivery["state"], len(delivery["attempts"])) == ("succeeded", 1)


def test_a_second_signal_cuts_a_stop_short_and_what_was_cut_runs_again(service: Machine) -> None:
    identifier = waiting(service, "cut")
    service.do("systemctl", "stop", "--no-block", "mediator")
    eventually_true(lambda: service.show("StatusText") == "draining; attempts running: 1")
    service.do("systemctl", "kill", "--kill-who=main", "mediator")
    service.await_state("inactive")
    assert service.show("Result") == "success"
    service.do("systemctl", "start", "mediator")
    let_go(service, "cut")
    assert service.ended(identifier)["state"] == "succeeded"


@pytest.mark.parametrize("number", ["KILL", "SEGV"])
def test_a_daemon_that_dies_is_started_again_and_its_scripts_with_it(
    service: Machine, number: str
) -> None:
    identifier = waiting(service, number)
    before = service.show("MainPID")
    service.do("systemctl", "kill", "--kill-who=main", f"--signal={number}", "mediator")
    eventually_true(lambda: service.show("MainPID") not in {before, "0"})
    service.await_state("active")
    let_go(service, number)
    assert service.ended(identifier)["state"] == "succeeded"


def test_a_daemon_whose_loop_hangs_is_started_again(service: Machine) -> None:
    conf = "/run/systemd/system/mediator.service.d/impatient.conf"
    service.write(conf, "[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n")
    service.bash("systemctl daemon-reload; systemctl restart mediator")
    identifier = waiting(service, "hang")
    before = service.show("MainPID")
    service.do("kill", "-STOP", before)
    eventually_true(lambda: service.show("MainPID") not in {before, "0"})
    service.await_state("active")
    assert "Watchdog timeout" in service.do("journalctl", "-u", "mediator", "-o", "cat")
    let_go(service, "hang")
    assert service.ended(identifier)["state"] == "succeeded"
    service.bash(f"rm {conf}; systemctl daemon-reload; systemctl restart mediator")


def test_a_daemon_that_lives_is_left_alone_by_the_watchdog(service: Machine) -> None:
    assert float(service.show("WatchdogUSec").removesuffix("min")) == 1
    first = service.show("WatchdogTimestampMonotonic")
    eventually_true(lambda: service.show("WatchdogTimestampMonotonic") != first)


def test_a_reload_finds_scripts(service: Machine) -> None:
    service.do("systemctl", "reload", "mediator")
    eventually_true(lambda: "reload asked" in service.journal())


def test_the_journal_has_the_log_and_no_secret(service: Machine) -> None:
    told = service.do("journalctl", "-u", "mediator", "-o", "cat")
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert any(line["event"] == "delivery accepted" for line in lines)
    for name in ("securechange.key", "operator.token"):
        assert service.bash(f"cat /etc/mediator/credentials/{name}") not in told


def test_how_much_is_open_to_the_service_is_bounded(service: Machine) -> None:
    """The exposure that systemd-analyze sees, in tenths; 100 is everything."""
    strict = service.exists("/etc/systemd/system/mediator.service.d/strict.conf")
    most = 14 if strict else 26
    service.do("systemd-analyze", "security", f"--threshold={most}", "mediator.service")
