"""An upgrade is the same command from a newer checkout; one that does not start changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.checkout import copy_checkout
from tests.systemd.machine import Machine

pytestmark = pytest.mark.timeout(600)
ECHO = '#!/bin/bash\necho "$1"\n'


def newer(host: Machine, version: str, *, spoilt: str = "") -> str:
    """A checkout of a later version; `spoilt` is Python that `mediator serve` stumbles over."""
    name = f"checkout-{version}"
    directory = host.share / name
    copy_checkout(directory)
    init = directory / "mediator" / "__init__.py"
    init.write_text(
        re.sub(r'__version__ = "[^"]+"', f'__version__ = "{version}"', init.read_text())
    )
    daemon = directory / "mediator" / "daemon" / "daemon.py"
    daemon.write_text(daemon.read_text() + spoilt)
    unit = directory / "deploy" / "systemd" / "mediator.service"
    unit.write_text(f"# {version}\n{unit.read_text()}")
    return name


def running(host: Machine) -> str:
    return host.do("mediator", "--version")


def unit(host: Machine) -> str:
    return host.bash("head -n 1 /etc/systemd/system/mediator.service")


def releases(host: Machine) -> list[str]:
    return [
        Path(line).name.partition("-")[0] for line in host.bash("ls /opt/mediator/releases").split()
    ]


def test_a_newer_checkout_takes_over_and_the_old_version_goes(installed: Machine) -> None:
    installed.script("echo.sh", ECHO)
    identifier = installed.hand_over("echo", "before")
    installed.ended(identifier)
    told = installed.install(checkout=newer(installed, "0.2.0"))
    assert told.returncode == 0, told.stderr
    assert "0.2.0" in running(installed)
    assert releases(installed) == ["0.2.0"]
    assert unit(installed) == "# 0.2.0"
    assert installed.delivery(identifier)["state"] == "succeeded"


def test_one_that_does_not_start_gives_way_to_the_version_before(installed: Machine) -> None:
    name = newer(installed, "0.3.0", spoilt='\nraise RuntimeError("spoilt")\n')
    told = installed.install(checkout=name)
    assert told.returncode == 1
    assert "spoilt" in told.stderr
    assert re.fullmatch(
        r"install.sh: the upgrade failed, and 0\.2\.0-[0-9a-f]{12} runs again",
        told.stderr.splitlines()[-1],
    )
    assert "0.2.0" in running(installed)
    assert unit(installed) == "# 0.2.0"
    assert releases(installed) == ["0.2.0"]
    assert installed.show("ActiveState") == "active"
    assert installed.ended(installed.hand_over("echo", "after"))["state"] == "succeeded"


def test_packages_that_cannot_be_had_leave_everything_as_it_is(installed: Machine) -> None:
    pid = installed.show("MainPID")
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nowhere"}
    told = installed.install(checkout=newer(installed, "0.4.0"), environment=nowhere)
    assert told.returncode == 1
    assert "the packages could not be installed" in told.stderr.splitlines()[-1]
    assert installed.show("MainPID") == pid
    assert "0.2.0" in running(installed)


def test_optional_parts_stay_once_they_were_asked_for(installed: Machine) -> None:
    assert installed.install("--extras", checkout="checkout-0.2.0").returncode == 0
    probe = "import psycopg, kubernetes, opentelemetry"
    installed.do("/opt/mediator/current/bin/python", "-c", probe)
    told = installed.install(checkout=newer(installed, "0.5.0"))
    assert told.returncode == 0, told.stderr
    installed.do("/opt/mediator/current/bin/python", "-c", probe)


def test_an_old_systemd_gets_the_secrets_by_the_group(installed: Machine) -> None:
    """systemd before 247 has no credentials. Here only its version is played; all else is real."""
    fake = (
        "#!/bin/bash\n"
        '[[ $1 == --version ]] && echo "systemd 239" && exit\n'
        'exec /bin/systemctl "$@"\n'
    )
    installed.write("/usr/local/sbin/systemctl", fake, "0755")
    told = installed.install(checkout="checkout-0.5.0")
    assert told.returncode == 0, told.stderr
    assert not installed.exists("/run/credentials/mediator.service")
    line = "stat -c '%a %U:%G' /etc/mediator/credentials/operator.token"
    assert installed.bash(line) == "640 root:mediator"
    assert installed.ended(installed.hand_over("echo", "old"))["state"] == "succeeded"
    again = installed.install(checkout="checkout-0.5.0")
    assert again.stderr.startswith("install.sh: nothing to do")
