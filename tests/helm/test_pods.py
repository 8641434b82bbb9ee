"""Every pod passes the Pod Security Standard "restricted", and keeps its secrets to itself."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.helm import MINIMAL, Helm, Manifest, containers, deployment, of_kind, pods, the

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip
"""What "restricted" allows (https://kubernetes.io/docs/concepts/security/pod-security-standards/)."""

FROM_VALUES = {"first", "tls"}
"""Containers that the scenarios bring themselves."""


def test_every_pod_is_restricted(rendered: list[Manifest]) -> None:
    found = list(pods(rendered))
    assert found
    for name, pod in found:
        assert _broken(pod) == [], name


def _broken(pod: Manifest) -> list[str]:
    """The controls of "restricted" that a pod breaks."""
    spec, wrong = pod["spec"], []
    of_pod = spec["securityContext"]
    wrong += [key for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if spec.get(key)]
    if of_pod.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        wrong.append("seccompProfile")
    if of_pod.get("runAsNonRoot") is not True or of_pod.get("runAsUser") == 0:
        wrong.append("runAsNonRoot")
    for volume in spec["volumes"]:
        wrong += [f"volume {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    for container in containers(pod):
        wrong += [f"{container['name']}: {key}" for key in _broken_by(container["securityContext"])]
        wrong += ["hostPort" for port in container.get("ports", []) if "hostPort" in port]
    return wrong


def _broken_by(context: Manifest) -> list[str]:
    wrong = []
    if context.get("allowPrivilegeEscalation") is not False:
        wrong.append("allowPrivilegeEscalation")
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        wrong.append("capabilities.drop")
    if context.get("capabilities", {}).get("add", []) not in ([], ["NET_BIND_SERVICE"]):
        wrong.append("capabilities.add")
    if context.get("privileged") or context.get("runAsUser") == 0:
        wrong.append("privileged")
    return wrong


def test_the_roots_of_the_charts_own_containers_are_read_only(rendered: list[Manifest]) -> None:
    for _, pod in pods(rendered):
        for container in containers(pod):
            if container["name"] not in FROM_VALUES:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_user_can_be_left_to_the_cluster(helm4: Helm) -> None:
    user = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    for _, pod in pods(helm4.template({**MINIMAL, "podSecurityContext": user})):
        assert user.keys().isdisjoint(pod["spec"]["securityContext"])
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_no_right_is_for_the_whole_cluster(rendered: list[Manifest]) -> None:
    assert not of_kind(rendered, "ClusterRole")
    assert not of_kind(rendered, "ClusterRoleBinding")


def test_a_token_is_where_a_role_is_bound_and_nowhere_else(rendered: list[Manifest]) -> None:
    bound = {
        binding["subjects"][0]["name"]
        for binding in of_kind(rendered, "RoleBinding")
        if binding["subjects"][0]["kind"] == "ServiceAccount"
    }
    for name, pod in pods(rendered):
        account = pod["spec"].get("serviceAccountName", "default")
        mounted = pod["spec"]["automountServiceAccountToken"]
        assert mounted is (account in bound), name
    for account in of_kind(rendered, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_no_variable_of_a_service_is_taken_for_a_setting(rendered: list[Manifest]) -> None:
    for _, pod in pods(rendered):
        assert pod["spec"]["enableServiceLinks"] is False


def test_no_secret_is_rendered(rendered: list[Manifest]) -> None:
    assert not of_kind(rendered, "Secret")


def test_files_of_secrets_are_open_to_the_group_alone(rendered: list[Manifest]) -> None:
    for _, pod in pods(rendered):
        secrets = [volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume]
        assert all(secret["defaultMode"] == 0o440 for secret in secrets)


def test_every_mount_has_a_volume_and_every_volume_a_mount(rendered: list[Manifest]) -> None:
    for name, pod in pods(rendered):
        mounted = {
            mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", [])
        }
        assert {volume["name"] for volume in pod["spec"]["volumes"]} == mounted, name


def test_what_the_mediator_cannot_write_elsewhere_it_writes_to_volumes(helm4: Helm) -> None:
    deployment = the(helm4.template(MINIMAL), "Deployment")
    (mediator,) = deployment["spec"]["template"]["spec"]["containers"]
    writable = {one["mountPath"] for one in mediator["volumeMounts"] if not one.get("readOnly")}
    assert writable == {"/var/lib/mediator", "/tmp"}  # noqa: S108 - a path in a container


def test_the_main_container_is_the_one_that_kubectl_asks(rendered: list[Manifest]) -> None:
    template = deployment(rendered)["spec"]["template"]
    chosen = template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
    assert chosen == template["spec"]["containers"][0]["name"] == "mediator"


def test_every_named_port_exists(rendered: list[Manifest]) -> None:
    for one in of_kind(rendered, "Deployment"):
        template = one["spec"]["template"]
        ports = _ports(template)
        first = template["spec"]["containers"][0]
        probes = [first[key] for key in first if key.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes} <= ports
    for selector, wanted in _wanted(rendered):
        (chosen,) = [
            one["spec"]["template"]
            for one in of_kind(rendered, "Deployment")
            if selector.items() <= one["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert wanted <= _ports(chosen)


def _ports(pod: Manifest) -> set[str]:
    return {port["name"] for one in pod["spec"]["containers"] for port in one.get("ports", [])}


def _wanted(manifests: list[Manifest]) -> Iterator[tuple[dict[str, str], set[str]]]:
    """Which pods are chosen, and which of their ports by name."""
    for service in of_kind(manifests, "Service"):
        yield (
            service["spec"]["selector"],
            {port["targetPort"] for port in service["spec"]["ports"]},
        )
    for monitor in of_kind(manifests, "PodMonitor"):
        chosen = monitor["spec"]["selector"]["matchLabels"]
        yield chosen, {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]}
    for policy in of_kind(manifests, "NetworkPolicy"):
        rules = policy["spec"]["ingress"]
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        yield chosen, {port["port"] for rule in rules for port in rule["ports"]}


def test_every_port_says_its_protocol(rendered: list[Manifest]) -> None:
    """A part of the key by which Helm 4 merges ports; Kubernetes 1.20 does not fill it in."""
    ports = [
        port
        for _, pod in pods(rendered)
        for one in containers(pod)
        for port in one.get("ports", [])
    ]
    ports += [port for service in of_kind(rendered, "Service") for port in service["spec"]["ports"]]
    assert ports
    assert all(port["protocol"] == "TCP" for port in ports)


def test_the_mediator_starts_as_its_image_starts_it(rendered: list[Manifest]) -> None:
    """There it has a parent that reaps what an exec leaves behind."""
    mediator = deployment(rendered)["spec"]["template"]["spec"]["containers"][0]
    assert "command" not in mediator
    assert mediator["args"] == ["serve"]


def test_passwords_of_repositories_are_files(helm4: Helm) -> None:
    git = {"repository": "https://git.example.com/a.git", "existingSecret": "repository"}
    rendered = helm4.template({**MINIMAL, "scripts": {"git": git}})
    spec = the(rendered, "Deployment")["spec"]["template"]["spec"]
    found = [one for one in containers({"spec": spec}) if "git-sync" in one["image"]]
    assert [one["name"] for one in found] == ["scripts", "git-sync"]
    for container in found:
        variables = {one["name"]: one.get("value") for one in container["env"]}
        assert variables["GITSYNC_PASSWORD_FILE"] == "/etc/git-secret/password"  # noqa: S105
        assert "GITSYNC_PASSWORD" not in variables
