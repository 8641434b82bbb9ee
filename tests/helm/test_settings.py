"""The settings that the chart writes are what the mediator takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediator.model.durations import parse_duration
from mediator.settings.load import read_environment
from mediator.settings.schema import Settings
from tests.support.helm import (
    MINIMAL,
    POSTGRESQL,
    REPOSITORY,
    Helm,
    Manifest,
    containers,
    deployment,
    pods,
    settings,
    the,
)


def test_every_topology_has_settings_that_the_mediator_takes(rendered: list[Manifest]) -> None:
    Settings.model_validate(settings(rendered))


def test_every_file_of_the_settings_is_in_a_mount(rendered: list[Manifest]) -> None:
    tree = settings(rendered)
    spec = deployment(rendered)["spec"]["template"]["spec"]
    mounts = [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]
    files = [entry["secret_file"] for entry in [*tree["auth"]["keys"], *tree["auth"]["tokens"]]]
    files += [tree["scripts"]["directory"], tree["environments"]["directory"]]
    files += [tree["dispatch"]["work_directory"], tree["store"].get("password_file", mounts[0])]
    for file in files:
        assert any(Path(file).is_relative_to(mount) for mount in mounts), file


def test_the_settings_of_the_values_win_and_arrive_as_they_are(helm: Helm) -> None:
    config: Mapping[str, Any] = {
        "http": {"port": 8443, "body_limit": 16777216},
        "store": {"most_pending": 1000000, "disk_floor": 209715200},
        "policies": {"a.py": {"limits": {"memory": "512MiB"}, "env": {"ON": "yes", "N": "1e3"}}},
        "routes": [{"event": "CREATE", "workflow": "Fire*", "scripts": ["a.py"]}],
        "dispatch": {"env": {"EMPTY": ""}},
    }
    rendered = helm.template({**MINIMAL, "config": dict(config)})
    tree = settings(rendered)
    for section, said in config.items():
        for key, value in said.items() if isinstance(said, dict) else []:
            assert tree[section][key] == value
    assert tree["routes"] == config["routes"]
    assert tree["http"]["host"] == "0.0.0.0"  # noqa: S104 - what the chart derives stays
    container = the(rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "http", "containerPort": 8443, "protocol": "TCP"} in container["ports"]


def test_another_setting_restarts_the_pods_and_another_script_does_not(helm4: Helm) -> None:
    def checksum(more: Mapping[str, Any]) -> str:
        template = the(helm4.template({**MINIMAL, **more}), "Deployment")["spec"]["template"]
        found: str = template["metadata"]["annotations"]["checksum/config"]
        return found

    first = checksum({"scripts": {"inline": {"a.sh": "#!/bin/sh"}}})
    assert checksum({"scripts": {"inline": {"a.sh": "#!/bin/bash"}}}) == first
    assert checksum({"config": {"dispatch": {"slots": 2}}}) != first


@pytest.mark.parametrize(
    ("dispatch", "seconds"),
    [
        ({}, 55),
        ({"drain": "1m30s", "grace": "500ms"}, 90 + 1 + 15),
        ({"drain": "2h", "grace": "1.5s"}, 7200 + 2 + 15),
        ({"drain": "1d"}, 86400 + 10 + 15),
        ({"drain": "0s"}, 0 + 10 + 15),
    ],
)
def test_a_pod_is_killed_only_after_an_orderly_stop(
    helm: Helm, dispatch: dict[str, str], seconds: int
) -> None:
    values = {**MINIMAL, "config": {"dispatch": dispatch}}
    spec = the(helm.template(values), "Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == seconds
    usual = Settings().dispatch
    drain = parse_duration(dispatch["drain"]) if "drain" in dispatch else usual.drain
    assert drain + usual.grace <= parse_duration(f"{seconds}s")


def test_every_variable_of_the_chart_is_one_that_the_mediator_knows(
    rendered: list[Manifest],
) -> None:
    for _, pod in pods(rendered):
        for container in containers(pod):
            env = {one["name"]: one.get("value", "") for one in container.get("env", [])}
            assert read_environment(env).problems == ()


def test_the_job_that_migrates_has_the_settings_of_the_store(helm4: Helm) -> None:
    store = {**POSTGRESQL["store"], "migrate": "job"}
    rendered = helm4.template({**POSTGRESQL, "store": store})
    spec = the(rendered, "Job")["spec"]["template"]["spec"]
    env = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    assert read_environment(env).data == {"store": settings(rendered)["store"]}
    assert settings(rendered)["store"].keys() == {"url", "password_file"}


def _moved(tree: Any, root: Path) -> Any:
    """The same with every absolute path under `root`."""
    if isinstance(tree, dict):
        return {key: _moved(value, root) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_moved(value, root) for value in tree]
    if isinstance(tree, str):
        return tree.replace("sqlite:////", f"sqlite:///{root}/") if ":" in tree else _at(tree, root)
    return tree


def _at(text: str, root: Path) -> str:
    return f"{root}{text}" if text.startswith("/") else text


def _check(helm: Helm, root: Path, config: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """What the init container `check` does, with the pod's files under `root`."""
    rendered = helm.template({**MINIMAL, "config": dict(config)})
    for directory in ("scripts", "var/lib/mediator", "etc/mediator", "etc/mediator-auth", "bin"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for name in ("securechange.key", "operator.token"):
        path = root / "etc" / "mediator-auth" / name
        path.write_text(name * 4)
        path.chmod(0o440)
    program = root / "bin" / "mediator"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mediator "$@"\n')
    program.chmod(0o755)
    file = root / "etc" / "mediator" / "mediator.yaml"
    file.write_text(yaml.safe_dump(_moved(settings(rendered), root)))
    spec = the(rendered, "Deployment")["spec"]["template"]["spec"]
    (check,) = [one for one in spec["initContainers"] if one["name"] == "check"]
    env = {"PATH": f"{root}/bin:/usr/bin:/bin", "MEDIATOR_CONFIG": str(file)}
    env["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(
        check["command"], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_check_lets_the_mediator_start(helm4: Helm, tmp_path: Path) -> None:
    done = _check(helm4, tmp_path, {})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.0.0.0" in done.stdout  # noqa: S104


def test_a_script_that_is_not_ready_does_not_stop_the_pod(helm4: Helm, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "broken.sh").write_text("#!/bin/sh\n")  # without its run bit
    done = _check(helm4, tmp_path, {})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not ready" in done.stdout


def test_wrong_settings_stop_the_pod(helm4: Helm, tmp_path: Path) -> None:
    done = _check(helm4, tmp_path, {"dispatch": {"slotz": 3}})
    assert done.returncode != 0
    assert "slots" in done.stdout + done.stderr
