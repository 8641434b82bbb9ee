"""deploy/compose.yaml and its files are sound, by the programs that read them, and closed."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediator.model.durations import parse_duration
from mediator.settings.load import load
from mediator.settings.secrets import read_secret
from tests.support.compose import FILE, tool

DEPLOY = FILE.parent
HERE = DEPLOY / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

each_service = pytest.mark.parametrize("name", SERVICES)


def test_the_schema_of_compose_files_takes_it() -> None:
    told = tool("check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE))
    assert told.returncode == 0, told.stdout + told.stderr


def test_podman_compose_reads_it() -> None:
    told = tool("podman_compose", "--file", str(FILE), "config")
    assert told.returncode == 0, told.stderr
    assert set(yaml.safe_load(told.stdout)["services"]) == set(SERVICES)


@each_service
def test_a_service_can_do_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert all(volume.endswith(":ro") or ":/" in volume for volume in service.get("volumes", []))


@each_service
def test_a_service_names_one_version_and_is_looked_after(name: str) -> None:
    service = SERVICES[name]
    image = re.fullmatch(r"\$\{([A-Z]+_IMAGE):-(.+):([^:]+)\}", service["image"])
    assert image is not None
    assert image[3] != "latest"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"


@each_service
def test_every_file_that_is_mounted_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = re.sub(r"^\$\{[A-Z_]+:-([^}]+)\}", r"\1", volume).split(":")[0]
        assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), volume


def test_only_the_mediator_is_open_to_others() -> None:
    open_to_all = [
        name
        for name, service in SERVICES.items()
        if any(not port.startswith("127.0.0.1:") for port in service.get("ports", []))
    ]
    assert open_to_all == ["mediator"]
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert SERVICES["postgres"]["networks"] == ["store"]


def test_the_example_of_variables_has_each_of_them() -> None:
    example = set(re.findall(r"^#([A-Z_]+)=", (HERE / ".env.example").read_text(), re.MULTILINE))
    assert example == set(re.findall(r"\$\{([A-Z_]+):-", FILE.read_text()))


def test_no_secret_is_in_a_variable() -> None:
    for service in SERVICES.values():
        for variable in service.get("environment", {}):
            assert not re.search(r"(PASSWORD|SECRET|TOKEN|KEY)$", variable), variable
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_the_settings_are_sound_and_their_secrets_given() -> None:
    settings = load(HERE / "mediator.yaml")
    named = [
        *(key.secret_file for key in settings.auth.keys),
        *(token.secret_file for token in settings.auth.tokens),
        settings.store.password_file,
    ]
    given = {Path("/run/secrets") / name for name in SERVICES["mediator"]["secrets"]}
    assert set(named) == given
    assert Path("/run/secrets/database.password") == settings.store.password_file


def test_a_stop_takes_no_longer_than_the_mediator_may_take() -> None:
    limits = load(HERE / "mediator.yaml").dispatch
    given = parse_duration(SERVICES["mediator"]["stop_grace_period"])
    assert given >= limits.drain + limits.grace + timedelta(seconds=10)


def test_prometheus_takes_its_settings_and_the_rules(tmp_path: Path) -> None:
    shutil.copy(HERE / "prometheus.yml", tmp_path)
    shutil.copy(DEPLOY / "prometheus" / "mediator.rules.yaml", tmp_path)
    told = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "1 rule files found" in told.stdout


def amtool(*arguments: str) -> str:
    told = subprocess.run(
        ["amtool", *arguments], capture_output=True, text=True, check=False, cwd=HERE
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout.strip()


def test_alertmanager_takes_its_settings() -> None:
    amtool("check-config", "alertmanager.yml")


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "night"), ("warning", "morning")])
def test_each_severity_goes_where_it_should(severity: str, receiver: str) -> None:
    route = ("config", "routes", "test", "--config.file=alertmanager.yml")
    assert amtool(*route, f"severity={severity}", "alertname=MediatorDown") == receiver


def test_grafana_finds_the_dashboard_and_its_datasource() -> None:
    provisioning = HERE / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/mediator.yaml").read_text())[
        "providers"
    ]
    directory = provider["options"]["path"]
    mounted = [volume for volume in SERVICES["grafana"]["volumes"] if f":{directory}/" in volume]
    assert mounted == [f"./grafana/mediator.json:{directory}/mediator.json:ro"]
    sources = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    default = [source for source in sources if source.get("isDefault")]
    assert [source["type"] for source in default] == ["prometheus"]
    dashboard = json.loads((DEPLOY / "grafana" / "mediator.json").read_text())
    variable = next(v for v in dashboard["templating"]["list"] if v["name"] == "datasource")
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")


def test_secrets_are_made_once_for_the_group_of_the_containers(tmp_path: Path) -> None:
    program = shutil.copy(HERE / "make-secrets", tmp_path)
    first = subprocess.run([program], capture_output=True, text=True, check=True).stderr
    files = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    assert set(files) == set(COMPOSE["secrets"])
    assert len(first.splitlines()) == len(files)
    for path in files.values():
        assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (65532, 0o440)
        assert len(read_secret(path, key="secret").reveal()) == 43
    before = {name: path.read_bytes() for name, path in files.items()}
    assert subprocess.run([program], capture_output=True, check=True).stderr == b""
    assert {name: path.read_bytes() for name, path in files.items()} == before
