"""The metrics page parses, its labels come from closed sets, and readiness tells the truth."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.support.mediator import CANARY, Client, Handover, Mediator

CLOSED = {
    "script": {"notify.py", "ok.sh", "tell.py", "asleep.py", "broken.py"},
    "repeat": {"new", "resent", "duplicate"},
    "status": {"400", "401", "403", "404", "408", "409", "413", "422", "429", "500", "503", "504"},
    "state": {"succeeded", "dead", "cancelled"},
    "calls": {"trigger", "interactive"},
    "ready": {"true", "false"},
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
        assert family.name.startswith("mediator_")
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
