from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiException

from mediator.errors import SettingsError
from mediator.kube.client import Cluster, connect, describe

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: TOKEN}}]
contexts: [{name: x, context: {cluster: c, user: u}}, {name: y, context: {cluster: c, user: u}}]
current-context: x
"""


def refused(status: int, message: str) -> ApiException:
    return ApiException(status=status, body=json.dumps({"kind": "Status", "message": message}))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        pytest.param(
            refused(
                403,
                'pods "x" is forbidden: User "system:serviceaccount:a:b" cannot create resource '
                '"pods/exec" in API group "" in the namespace "scripts"',
            ),
            "may not create pods/exec in namespace scripts (403)",
            id="RBAC",
        ),
        pytest.param(
            refused(
                403, 'User "x" cannot list resource "nodes" in API group "" at the cluster scope'
            ),
            "may not list nodes (403)",
            id="RBAC for the whole cluster",
        ),
        pytest.param(
            refused(403, 'pods "x" is forbidden: exceeded quota: few, requested: pods=1.'),
            'pods "x" is forbidden: exceeded quota: few, requested: pods=1 (403)',
            id="quota",
        ),
        pytest.param(
            refused(401, "Unauthorized"),
            "the API server does not accept the credentials (401)",
            id="credentials",
        ),
        pytest.param(
            refused(400, "Secret cannot be handled, error found in #10 byte of ...|<ticket>|..."),
            "Secret cannot be handled (400)",
            id="a piece of the request",
        ),
        pytest.param(
            ApiException(status=503, reason="Service Unavailable", body="<html>"),
            "Service Unavailable (503)",
            id="a proxy",
        ),
        pytest.param(
            TimeoutError(), "the API server cannot be reached (no answer in time)", id="silence"
        ),
        pytest.param(
            ssl.SSLCertVerificationError(1, "x"),
            "the API server cannot be reached (its certificate is not accepted: x)",
            id="certificate",
        ),
    ],
)
def test_what_went_wrong_is_told_in_one_sentence(error: Exception, sentence: str) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "x"
    assert describe(error) == sentence


def cluster(kubeconfig: Path | None, context: str | None = None) -> Cluster:
    return Cluster(kubeconfig=kubeconfig, context=context, namespace="scripts")


async def test_a_client_takes_server_and_token_from_the_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    async with connect(cluster(path, "y")) as client:
        settings = await client.configuration.auth_settings()
        assert client.configuration.host == "https://127.0.0.1:6443"
        assert settings["BearerToken"]["value"] == "Bearer TOKEN"


@pytest.mark.parametrize(
    ("text", "context", "reason"),
    [
        pytest.param(None, None, "there is no such file", id="absent"),
        pytest.param("", None, "it is no kubeconfig", id="empty"),
        pytest.param(KUBECONFIG, "z", "z", id="another context"),
    ],
)
async def test_a_kubeconfig_that_is_of_no_use_is_named(
    tmp_path: Path, text: str | None, context: str | None, reason: str
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=f"the kubeconfig {path} cannot be used: .*{reason}"):
        async with connect(cluster(path, context)):
            pass


async def test_without_the_extra_the_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.aio.client", None)
    with pytest.raises(SettingsError, match=r"pip install 'securechange-mediator\[kubernetes\]'"):
        async with connect(cluster(None)):
            pass
