"""The metrics page parses, its labels come from closed sets, and readiness tells the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from mediator.metrics.deliveries import REFUSALS
from mediator.metrics.labels import EVENTS
from mediator.metrics.system import PARENTS
from mediator.model.delivery import Outcome, State
from mediator.model.signatures import Reason
from tests.support.conditions import eventually
from tests.support.mediator import CANARY, Answer, Client, Handover, Mediator
from tests.support.scripts import OK, gated

CLOSED = {
    "script": {"notify.py", "ok.sh", "tell.py", "asleep.py", "broken.py"},
    "repeat": {"new", "resent", "duplicate"},
    "status": {str(int(error.status)) for error in REFUSALS},
    "reason": {error.word for error in REFUSALS} | {str(reason) for reason in Reason} | {"token"},
    "event": EVENTS | {"none", "other"},
    "outcome": {str(outcome) for outcome in Outcome},
    "code": {"0", "75", "give_up", "other", "none"},
    "part": {"store", "dispatcher", "disk", "intake"},
    "state": {str(state) for state in State} | set(PARENTS),
    "calls": {"trigger", "interactive"},
    "ready": {"true", "false"},
    "answer": {"accepted", "answered", "refused"},
    "result": {"ok", "failed", "routed", "unrouted"},
    "trouble": {"timeout", "error"},
    "operation": {
        "accept",
        "claim",
        "finish",
        "lease",
        "read",
        "count",
        "change",
        "remove",
        "probe",
    },
}


async def hostile(client: Client) -> None:
    for n in range(10):
        name = f'evil-{n}"}} 1\nmediator_evil{{x="'
        await client.hand_over(Handover(script=name))
        await client.hand_over(Handover(event=f"EVENT_{n}", script="ok", arguments=[name]))
        await client.hand_over(Handover(script="ok", body=f"<x>{CANARY}-{n}</x>".encode()))
        await client.send(Handover(script=name).target, b"", {"Signature": name.encode().hex()})


async def test_labels_stay_within_their_sets_whatever_is_sent(client: Client) -> None:
    await hostile(client)
    answer = await client.get("/metrics", token=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert families
    for family in families:
        assert family.name.startswith(("mediator_", "process_", "python_"))
        assert family.documentation
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert value in CLOSED.get(label, {value}), sample
    assert b"evil" not in answer.body
    assert CANARY.encode() not in answer.body


async def test_repeats_are_counted_as_what_they_are(client: Client) -> None:
    handover = Handover(script="ok", arguments=["counted"], idempotency_key="counted")
    name, script = "mediator_deliveries_accepted_total", "ok.sh"
    kinds = ("new", "resent", "duplicate")
    before = [await client.sample(name, script=script, repeat=kind) for kind in kinds]
    first = await client.hand_over(handover)
    resent = await client.hand_over(handover)
    duplicate = await client.hand_over(Handover(script="ok", arguments=["counted"]))
    after = [await client.sample(name, script=script, repeat=kind) for kind in kinds]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
    assert first.delivery == resent.delivery == duplicate.delivery
    assert duplicate.headers["Mediator-Duplicate"] == "true"
    assert "Mediator-Duplicate" not in {*first.headers, *resent.headers}


async def test_an_exemplar_leads_from_a_counter_to_a_delivery(client: Client) -> None:
    await eventually(lambda: client.get("/v1/status"), until=nothing_runs)  # or that ends later
    answer = await client.hand_over(Handover(script="ok", arguments=["exemplary"]))
    await client.until(answer.delivery, "succeeded")
    page = await client.call(
        "GET", "/metrics", token=None, headers={"Accept": "application/openmetrics-text"}
    )
    assert page.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    read = cast("Callable[[str], Iterable[Metric]]", openmetrics.text_string_to_metric_families)
    samples = [sample for family in read(page.body.decode()) for sample in family.samples]
    shown = {
        sample.name
        for sample in samples
        if sample.exemplar and sample.exemplar.labels == {"delivery_id": answer.delivery}
    }
    assert shown >= {
        "mediator_deliveries_accepted_total",
        "mediator_attempts_total",
        "mediator_attempt_duration_seconds_bucket",
        "mediator_deliveries_ended_total",
    }


def nothing_runs(answer: Answer) -> bool:
    status = answer.json()
    return bool(status["pending"] + status["running"] == 0)


async def test_what_an_operator_cancels_before_it_ran_is_counted_as_ended(tmp_path: Path) -> None:
    mediator = Mediator(tmp_path, settings={"policies": {"held.py": {"concurrency": 1}}})
    gate = tmp_path / "gate"
    mediator.script("held.py", f"#!/usr/bin/env python3\n{gated(gate, tmp_path / 'started')}")
    with mediator:
        async with Client(mediator.url) as client:
            cancelled = {"script": "held.py", "calls": "trigger", "state": "cancelled"}
            assert await client.sample("mediator_deliveries_ended_total", **cancelled) == 0
            first = await client.hand_over(Handover(script="held.py", arguments=["1"]))
            await client.until(first.delivery, "running")
            second = await client.hand_over(Handover(script="held.py", arguments=["2"]))
            assert (await client.post(f"/v1/deliveries/{second.delivery}/cancel")).status == 200
            assert await client.sample("mediator_deliveries_ended_total", **cancelled) == 1
            gate.touch()


async def test_the_states_of_the_page_are_those_of_the_store_also_after_a_crash(
    tmp_path: Path,
) -> None:
    mediator = Mediator(tmp_path)
    mediator.script("ok.sh", OK)
    gate = tmp_path / "gate"
    mediator.script("held.py", f"#!/usr/bin/env python3\n{gated(gate, tmp_path / 'started')}")
    with mediator:
        async with Client(mediator.url) as client:
            done = [await client.hand_over(Handover(script="ok", arguments=[n])) for n in "123"]
            for answer in done:
                await client.until(answer.delivery, "succeeded")
            held = await client.hand_over(Handover(script="held"))
            await client.until(held.delivery, "running")
            assert await states(client) == {"succeeded": 3, "running": 1}
            accepted = "mediator_deliveries_accepted_total"
            new = [
                await client.sample(accepted, script=script, repeat="new")
                for script in ("ok.sh", "held.py")
            ]
            assert sum(new) == 4, "what was accepted is what is there"
        mediator.kill()
        gate.touch()
        mediator.start()
        async with Client(mediator.url) as client:
            await client.until(held.delivery, "succeeded")
            assert await states(client) == {"succeeded": 4}
            lost = {"script": "held.py", "outcome": "lost", "code": "none"}
            assert await client.sample("mediator_attempts_total", **lost) == 1
            assert await client.sample("mediator_deliveries_recovered_total") == 1


async def states(client: Client) -> dict[str, float]:
    found = {state: await client.sample("mediator_deliveries", state=state) for state in State}
    return {str(state): count for state, count in found.items() if count}


async def test_a_key_that_comes_again_with_other_content_is_refused(client: Client) -> None:
    await client.hand_over(Handover(script="ok", arguments=["a"], idempotency_key="reused"))
    answer = await client.hand_over(
        Handover(script="ok", arguments=["b"], idempotency_key="reused")
    )
    assert answer.status == 422
    assert "Idempotency-Key" in answer.detail


async def test_scripts_that_cannot_run_are_shown_but_do_not_make_it_unready(
    client: Client,
) -> None:
    answer = await client.get("/readyz", token=None)
    assert answer.status == 200
    document = answer.json()
    assert document["status"] == "ready"
    assert set(document["scripts_not_ready"]) == {"asleep.py", "broken.py"}
    assert await client.sample("mediator_scripts", ready="false") == 2
    assert await client.sample("mediator_scripts", ready="true") == 3


def test_the_whole_log_tells_no_ticket_no_output_and_no_secret(shared: Mediator) -> None:
    """What it must not tell is looked for whenever a test's mediator ends; this proves it looks."""
    shim = shared.shim("tell", CANARY, stdin=f"<ticket_info>{CANARY}</ticket_info>".encode())
    assert CANARY.encode() in shim.stdout
    assert shared.events("delivery accepted")
    assert CANARY not in shared.log()
