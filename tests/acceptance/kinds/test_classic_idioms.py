"""What scripts of TOS Classic do, in the languages they are written in, goes on working.

None of them states a policy inside: they are as they were. A policy that one needs is beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psutil
import pytest

from tests.acceptance.kinds.calls import ended
from tests.acceptance.kinds.pod import Pod
from tests.support.conditions import eventually_true
from tests.support.mediator import REPOSITORY, Mediator

SAMPLES = REPOSITORY / "tests" / "samples"


@dataclass(frozen=True, kw_only=True)
class Idiom:
    """A trigger script, and what it prints about a ticket."""

    suffix: str
    text: str
    prints: str
    arguments: tuple[str, ...] = ()
    ticket: str = "trigger_advance"


SUBJECT = "Open HTTPS from web tier to app tier"
ONE_TEXT = ("--workflow 'Access Request' --to \"a b\" -v",)
"""The arguments field of a trigger, which SecureChange hands on as one argument."""

IDIOMS = {
    "python that splits its one argument": Idiom(
        suffix=".py",
        arguments=ONE_TEXT,
        text="""#!/usr/bin/env python3
import argparse, shlex, sys
parser = argparse.ArgumentParser()
parser.add_argument("--workflow")
parser.add_argument("--to")
parser.add_argument("-v", action="store_true")
print(parser.parse_args(shlex.split(" ".join(sys.argv[1:]))))
""",
        prints="Namespace(workflow='Access Request', to='a b', v=True)\n",
    ),
    "bash that lets the shell split its one argument": Idiom(
        suffix=".sh",
        arguments=("first second",),
        text="""#!/bin/bash
set -- $1
printf '<%s>' "$@"
""",
        prints="<first><second>",
    ),
    "python that reads one line": Idiom(
        suffix=".py",
        text="""#!/usr/bin/env python3
import sys
from xml.etree import ElementTree
print(ElementTree.fromstring(sys.stdin.readline()).find("current_stage/name").text)
""",
        prints="Business approval\n",
    ),
    "python that reads all with ElementTree": Idiom(
        suffix=".py",
        ticket="ticket_info_classic_pytos1",
        text="""#!/usr/bin/env python3
import sys
import xml.etree.ElementTree as ET
print(ET.parse(sys.stdin).getroot().find("id").text)
""",
        prints="1204\n",
    ),
    "python that reads all with minidom": Idiom(
        suffix=".py",
        text="""#!/usr/bin/env python3
import sys
from xml.dom import minidom
document = minidom.parseString(sys.stdin.read())
print(document.getElementsByTagName("subject")[0].firstChild.nodeValue)
""",
        prints=f"{SUBJECT}\n",
    ),
    "python with letters of every script": Idiom(
        suffix=".py",
        ticket="ticket_info_hostile_values",
        text="""#!/usr/bin/env python3
import sys
from xml.etree import ElementTree
print(ElementTree.fromstring(sys.stdin.read()).find("subject").text)
""",
        prints='Große Änderung <b>"$(id)"</b> `x`; rm -rf / && %0A \\n 東京\n',
    ),
    "python that goes by the event": Idiom(
        suffix=".py",
        text="""#!/usr/bin/env python3
import os
print({"CREATE": "new", "ADVANCE": "moved"}[os.environ["SCW_EVENT"]])
""",
        prints="moved\n",
    ),
    "python that imports what lies beside it": Idiom(
        suffix=".py",
        text="""#!/usr/bin/env python3
import os, sys
import common_functions
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "classic.conf")) as file:
    print(common_functions.greet(file.read().strip()))
""",
        prints="hello from the old file\n",
    ),
    "python that works in a temporary file of its own": Idiom(
        suffix=".py",
        text="""#!/usr/bin/env python3
import os, sys
print(os.listdir("."))
with open("ticket.xml", "w") as file:
    file.write(sys.stdin.read())
print(os.path.getsize("ticket.xml") > 100)
""",
        prints="[]\nTrue\n",
    ),
    "python that reads nothing": Idiom(
        suffix=".py", text="#!/usr/bin/env python3\nprint('done')\n", prints="done\n"
    ),
    "python that prints without a line end": Idiom(
        suffix=".py",
        text="#!/usr/bin/env python3\nimport sys\nsys.stdout.write('done')\n",
        prints="done",
    ),
    "perl that reads all with a regular expression": Idiom(
        suffix=".pl",
        text="""#!/usr/bin/perl -w
use strict;
my $ticket = do { local $/; <STDIN> };
my ($id) = $ticket =~ m{<id>(\\d+)</id>};
my ($step) = $ticket =~ m{<current_stage>.*?<name>(.*?)</name>}s;
print "$id $step $ENV{SCW_EVENT} @ARGV\\n";
""",
        arguments=("--quiet",),
        prints="4711 Business approval ADVANCE --quiet\n",
    ),
    "perl that reads line by line": Idiom(
        suffix=".pl",
        ticket="ticket_info_classic_pytos1",
        text="""#!/usr/bin/perl
while (<>) { print "$1\\n" if m{<name>(.*)</name>} }
""",
        prints="Current Step Name\nOpen Request Step Name\n",
    ),
    "bash that reads all with a regular expression": Idiom(
        suffix=".sh",
        text="""#!/bin/bash
ticket=$(cat)
[[ $ticket =~ \\<id\\>([0-9]+)\\</id\\> ]] && echo "ticket ${BASH_REMATCH[1]}: $SCW_EVENT"
""",
        prints="ticket 4711: ADVANCE\n",
    ),
    "sh with grep, sed and a pipe": Idiom(
        suffix="",
        text="""#!/bin/sh
sed -n 's:.*<subject>\\(.*\\)</subject>.*:\\1:p' | tr a-z A-Z
""",
        prints=SUBJECT.upper(),
    ),
}

DECOMMISSION = """#!/usr/bin/env python3
import sys
from xml.dom import minidom
print("<tasks>", end="")
sys.stdout.flush()
document = minidom.parseString(sys.stdin.read())
for server in document.getElementsByTagName("server"):
    name = server.getElementsByTagName("id")[0].firstChild.nodeValue
    print("<task><name>Retire " + name + "</name></task>", end="")
print("</tasks>", end="")
"""

RAISES = """#!/usr/bin/env python3
import os
if os.environ["MEDIATOR_ATTEMPT"] == "1":
    raise ConnectionError("the other system is away")
print("done by " + os.environ["MEDIATOR_DELIVERY_ID"])
"""

SAYS_WHY = '#!/usr/bin/env python3\nimport sys\nsys.exit("no such queue")\n'

WORKS_ON = """#!/bin/bash
cat >/dev/null
nohup sleep 1000 >/dev/null 2>&1 &
echo $!
"""

ONCE = "retry = { attempts = 1 }\n"
TWICE = 'retry = { attempts = 2, first = "1ms" }\n'


def name_of(idiom: str) -> str:
    return idiom.replace(" ", "_").replace(",", "")


SCRIPTS = {
    **{name_of(name) + idiom.suffix: idiom.text for name, idiom in IDIOMS.items()},
    "common_functions.py": "def greet(name):\n    return 'hello from ' + name\n",
    "classic.conf": "the old file\n",
    "decommission.py": DECOMMISSION,
    "decommission.py.toml": 'kind = "assignment"\n',
    "raises.py": RAISES,
    "raises.py.toml": TWICE,
    "says_why.py": SAYS_WHY,
    "says_why.py.toml": ONCE,
    "works_on.sh": WORKS_ON,
    "python2.py": "#!/usr/local/lib/tos-classic/bin/python2.7\nprint 'hello'\n",
    "from_windows.py": "#!/usr/bin/env python3\r\nprint('hello')\r\n",
}


def ticket(name: str = "trigger_advance") -> bytes:
    return (SAMPLES / f"{name}.xml").read_bytes()


@pytest.mark.parametrize("name", IDIOMS)
async def test_it_runs_as_it_did(name: str, mediator: Mediator, pod: Pod) -> None:
    idiom = IDIOMS[name]
    shim = pod.call(name_of(name), *idiom.arguments, stdin=ticket(idiom.ticket), event="ADVANCE")
    (attempt,) = await ended(mediator, shim)
    assert (attempt["stdout"], attempt["stderr"]) == (idiom.prints, "")


def test_a_decommission_script_gets_its_whole_task_after_it_has_begun_to_answer(pod: Pod) -> None:
    shim = pod.call("decommission", stdin=ticket("decommission_assignment_input"))
    answer = b"<tasks><task><name>Retire 1207</name></task></tasks>"
    assert (shim.returncode, shim.stdout, shim.stderr) == (0, answer, b"")


async def test_a_script_that_reads_nothing_gets_a_ticket_larger_than_any_pipe(
    mediator: Mediator, pod: Pod
) -> None:
    large = ticket().replace(b"<subject>", b"<!--" + b"x" * 200_000 + b"--><subject>")
    shim = pod.call("python_that_reads_nothing", stdin=large, event="CREATE")
    (attempt,) = await ended(mediator, shim)
    assert (attempt["stdout"], attempt["stderr"]) == ("done\n", "")


async def test_an_exception_is_exit_code_1_and_the_script_is_run_again(
    mediator: Mediator, pod: Pod
) -> None:
    first, second = await ended(mediator, pod.call("raises", stdin=ticket(), event="CREATE"))
    assert first["exit_code"] == 1
    assert first["stderr"].endswith("ConnectionError: the other system is away\n")
    assert second["exit_code"] == 0
    assert re.fullmatch(r"done by [0-9a-f-]{36}\n", second["stdout"])


async def test_an_exit_with_a_text_is_exit_code_1_and_the_text_is_kept(
    mediator: Mediator, pod: Pod
) -> None:
    shim = pod.call("says_why", stdin=ticket(), event="CREATE")
    (attempt,) = await ended(mediator, shim, state="dead")
    assert (attempt["exit_code"], attempt["stderr"]) == (1, "no such queue\n")


async def test_work_left_in_the_background_is_killed_when_the_script_ends(
    mediator: Mediator, pod: Pod
) -> None:
    (attempt,) = await ended(mediator, pod.call("works_on", stdin=ticket(), event="CREATE"))
    left = int(attempt["stdout"])
    eventually_true(lambda: not psutil.pid_exists(left) or _is_another(left))


def _is_another(pid: int) -> bool:
    """Whether the number has been given to another process since."""
    try:
        return psutil.Process(pid).cmdline() != ["sleep", "1000"]
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param("python2", "/usr/local/lib/tos-classic/bin/python2.7", id="no interpreter"),
        pytest.param("from_windows", "Windows line ends", id="lines that end as on Windows"),
    ],
)
def test_a_script_that_cannot_start_here_is_refused_with_the_reason(
    script: str, reason: str, pod: Pod
) -> None:
    shim = pod.call(script, stdin=ticket(), event="CREATE")
    assert (shim.returncode, shim.stdout) == (75, b"")
    told = shim.stderr.decode()
    assert "the script is not ready: HTTP 409" in told
    assert f"{script}.py" in told
    assert reason in told
