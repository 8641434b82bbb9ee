"""An interactive script that runs as a Job answers while SecureChange waits."""

from __future__ import annotations

from pathlib import Path

from mediator.kube.client import KubernetesClient
from tests.cluster.runner.support import section
from tests.support.mediator import Client, Handover, Mediator

POLICY = '# /// script\n# [tool.mediator]\n# kind = "condition"\n# answer = []\n# ///\n'


async def test_its_answer_and_its_exit_code_reach_the_caller(
    namespace: KubernetesClient, tmp_path: Path
) -> None:
    mediator = Mediator(tmp_path)
    cluster = section(namespace.namespace, mediator.scripts)
    mediator.configure(
        {
            "kubernetes": cluster,
            "dispatch": {"runner": "kubernetes", "interactive_timeout": "60s"},
        }
    )
    mediator.script("ask.sh", f"#!/bin/sh\n{POLICY}cat; echo; echo no >&2; exit 3\n")
    with mediator:
        async with Client(mediator.url) as client:
            answer = await client.hand_over(Handover(script="ask", body=b"<ticket_info/>"))
        assert (answer.status, answer.body) == (200, b"<ticket_info/>\nno\n")
        assert answer.headers["Mediator-Exit-Code"] == "3"
        checked = mediator.cli("check")
        assert "a Job takes seconds to start" in checked.stdout
