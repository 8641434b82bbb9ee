"""Every query of the dashboard, in a real Prometheus that scrapes a real mediator at work.

One test, because the work takes a while: after a crash in the middle, all of it is asked for.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mediator.model.signatures import Key
from tests.support.conditions import eventually
from tests.support.mediator import Client, Handover, Mediator
from tests.support.prometheus import Prometheus, free_port
from tests.support.scripts import OK, gated, interactive
from tests.support.wheels import make_wheel

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "mediator.json").read_text())
SHOWN = 60
"""Seconds that the dashboard shows."""
VALUES = {"__rate_interval": "15s", "__range": f"{SHOWN}s"}
STRANGER = Key(id="stranger", secret=b"s" * 40)
ANSWER = "print('<response><condition_result>true</condition_result></response>')"


def python(text: str, **policy: str) -> str:
    keys = "".join(f"# {key} = {value}\n" for key, value in policy.items())
    return f"#!/usr/bin/env python3\n# /// script\n# [tool.mediator]\n{keys}# ///\n{text}\n"


def depends(package: str) -> str:
    return f'#!/usr/bin/env python3\n# /// script\n# dependencies = ["{package}"]\n# ///\n'


def make(home: Path) -> Mediator:
    """A mediator with a script for everything that can happen."""
    made = Mediator(
        home,
        {
            "http": {"port": free_port()},
            "environments": {"wheels": ["wheels"], "offline": True},
            "dispatch": {"retry": {"attempts": 3, "first": "50ms"}},
        },
    )
    routes = [{"event": "CREATE", "scripts": ["ok.sh"]}]
    made.config.write_text(made.config.read_text() + f"routes: {routes!r}\n")
    make_wheel(home / "wheels", "tiny")
    make_wheel(home / "wheels", "small")
    tries = "import os, sys; sys.exit(75 if os.environ['MEDIATOR_ATTEMPT'] == '1' else 0)"
    held = gated(home / "gate", home / "started")
    scripts = {
        "ok.sh": OK,
        "tries.py": python(tries),
        "gives-up.sh": "#!/bin/sh\nexit 64\n",
        "fails.sh": "#!/bin/sh\nexit 1\n",
        "later.py": python("import sys; sys.exit(1)", retry='{ first = "1h", longest = "1h" }'),
        "held.py": python(held, concurrency="1"),
        "ask.py": interactive(ANSWER, answer='["response"]'),
        "slow.py": interactive("import time; time.sleep(60)", timeout='"100ms"'),
        "late.py": interactive(
            "import time; time.sleep(60)",
            timeout='"100ms"',
            answer='["response"]',
            fallback='{ on = ["timeout"], file = "late.xml" }',
        ),
        "warm.py": python("", runner='"warm"'),
        "packed.py": depends("tiny"),
        "broken.py": "#!/no/such/python\n",
    }
    (made.scripts / "late.xml").write_text(
        "<response><condition_result>false</condition_result></response>"
    )
    for name, text in scripts.items():
        made.script(name, text)
    return made


async def work(client: Client, round_: int) -> list[str]:
    """A little of everything; the ids of what was accepted."""
    number = str(round_)
    accepted = ("ok", "tries", "gives-up", "fails", "later", "held", "warm", "ask")
    calls = [Handover(script=name, arguments=[number]) for name in accepted]
    calls += [Handover(script=name, arguments=[number]) for name in ("slow", "late", "nobody")]
    calls += [Handover(script="ok", arguments=["again"]), Handover(script="broken")]
    calls += [Handover(script="ok", key=STRANGER), Handover(script="ok", event="ADVANCE")]
    calls += [Handover(path="/v1/events", event=name) for name in ("CREATE", "CLOSE")]
    calls += [Handover(script="ok", body=b"<x/>")]
    answers = await asyncio.gather(*map(client.hand_over, calls))
    found = [a.headers.get("Mediator-Delivery", "none") for a in answers]
    dead = (await client.get("/v1/deliveries?state=dead&limit=1")).json()["items"]
    for delivery in dead:
        await client.post(f"/v1/deliveries/{delivery['id']}/retry")
    return [delivery_id for delivery_id in found if delivery_id != "none"]


def queries() -> Iterator[tuple[str, str]]:
    """Panel → its queries as Grafana sends them, with every variable at All."""
    for entry in DASHBOARD["annotations"]["list"]:
        yield entry["name"], filled(entry["expr"])
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']}: {target['legendFormat']}", filled(target["expr"])


def filled(query: str) -> str:
    return re.sub(r"\$(\w+)", lambda name: VALUES.get(name[1], ".*"), query)


def without_data(prometheus: Prometheus) -> list[str]:
    now = time.time()
    return [
        f"{where}: {query}"
        for where, query in queries()
        if not any(math.isfinite(value) for value in prometheus.seen(query, seconds=SHOWN, now=now))
    ]


def without_values(prometheus: Prometheus) -> list[str]:
    """The template variables that offer nothing to choose."""
    found = []
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = re.fullmatch(r"label_values\((.*), (\w+)\)", filled(variable["definition"]))
        assert query is not None, variable
        if not prometheus.get(f"label/{query[2]}/values", **{"match[]": query[1]}):
            found.append(variable["name"])
    return found


def exemplars(prometheus: Prometheus, query: str) -> set[str]:
    now = time.time()
    span = {"start": f"{now - SHOWN:.3f}", "end": f"{now:.3f}"}
    series = prometheus.get("query_exemplars", query=query, **span)
    return {e["labels"]["delivery_id"] for found in series for e in found["exemplars"]}


def firing(prometheus: Prometheus) -> set[str]:
    alerts = prometheus.get("alerts")["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


async def until_scraped(prometheus: Prometheus, query: str) -> None:
    async def true() -> bool:
        return any(await asyncio.to_thread(prometheus.values, query))

    await eventually(true)


async def at_work(mediator: Mediator, prometheus: Prometheus) -> set[str]:
    """Work, a crash, and more work, until every panel shows something."""
    accepted: set[str] = set()
    async with Client(mediator.url) as client:
        await client.until_scripts("packed.py")
        await until_scraped(prometheus, 'mediator_script_ready{script="packed.py"} == 1')
        mediator.script("added.py", depends("small"))
        await client.until_scripts("added.py")
        accepted.update(await work(client, 0))
        held = await client.hand_over(Handover(script="held", arguments=["held"]))
        await client.until_running(1)
        await until_scraped(prometheus, 'mediator_deliveries{state="running"} > 0')
        accepted.add(held.delivery)
    mediator.kill()
    mediator.start()
    async with Client(mediator.url) as client:
        rounds = iter(range(1, 1000))

        async def missing() -> list[str]:
            accepted.update(await work(client, next(rounds)))
            return await asyncio.to_thread(without_data, prometheus)

        await eventually(missing, until=lambda found: not found)
    return accepted


async def test_every_panel_shows_something_of_a_mediator_at_work(tmp_path: Path) -> None:
    mediator = make(tmp_path / "mediator")
    rules = DEPLOY / "prometheus" / "mediator.rules.yaml"
    with mediator:
        target = mediator.url.removeprefix("http://")
        with Prometheus(tmp_path / "prometheus", target, rules) as prometheus:
            accepted = await at_work(mediator, prometheus)
            assert without_data(prometheus) == []
            assert without_values(prometheus) == []
            for metric in (
                "mediator_deliveries_accepted_total",
                "mediator_attempt_duration_seconds_bucket",
            ):
                found = exemplars(prometheus, metric)
                assert found, f"{metric} leads to no delivery"
                assert found <= accepted
            assert firing(prometheus) >= {"MediatorDeliveriesDead", "MediatorHandoversRejected"}
            groups = prometheus.get("rules")["groups"]
            unwell = [r["name"] for g in groups for r in g["rules"] if r["health"] != "ok"]
            assert unwell == []
