"""deploy/tls/nginx.conf in a real nginx: what is signed arrives as it was sent, however large."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.conditions import eventually_true
from tests.support.mediator import REPOSITORY, Mediator
from tests.support.prometheus import free_port

SITE = REPOSITORY / "deploy" / "tls" / "nginx.conf"
ECHO = """#!/usr/bin/env python3
# /// script
# [tool.mediator]
# kind = "condition"
# answer = []
# ///
import sys
print(len(sys.stdin.buffer.read()), *sys.argv[1:], sep="|")
"""
MAIN = """
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/site.conf;
}}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxied:
    """A mediator behind TLS."""

    mediator: Mediator
    url: str
    certificate: Path

    def shim(self, *arguments: str, body: bytes) -> subprocess.CompletedProcess[bytes]:
        environment = {"MEDIATOR_URL": self.url, "MEDIATOR_CA_FILE": str(self.certificate)}
        return self.mediator.shim("echo", *arguments, stdin=body, environment=environment)


def make_certificate(home: Path) -> tuple[Path, Path]:
    certificate, key = home / "mediator.crt", home / "mediator.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    home, port = tmp_path / "nginx", free_port()
    home.mkdir()
    certificate, key = make_certificate(home)
    with Mediator(tmp_path / "mediator") as mediator:
        mediator.script("echo.py", ECHO)
        site = SITE.read_text()
        for ours, theirs in {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/mediator/tls/mediator.crt": str(certificate),
            "/etc/mediator/tls/mediator.key": str(key),
            "http://127.0.0.1:8080": mediator.url,
        }.items():
            assert ours in site
            site = site.replace(ours, theirs)
        (home / "site.conf").write_text(site)
        (home / "nginx.conf").write_text(MAIN.format(home=home))
        command = ["nginx", "-e", str(home / "error.log"), "-c", str(home / "nginx.conf")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            found = Proxied(
                mediator=mediator, url=f"https://localhost:{port}", certificate=certificate
            )
            eventually_true(lambda: found.shim(body=b"<ticket_info/>").returncode == 0)
            yield found
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["two words", "a&b=c", "50%"], id="what is special in a query"),
        pytest.param(["//", "../..", "%2F", "%2e%2e"], id="what proxies like to tidy up"),
        pytest.param(["Zürich", "东京"], id="other alphabets"),
        pytest.param(["x" * 20_000], id="long"),
    ],
)
def test_arguments_arrive_as_they_were_sent(proxied: Proxied, arguments: list[str]) -> None:
    told = proxied.shim(*arguments, body=b"<ticket_info/>")
    assert told.returncode == 0, told.stderr
    assert told.stdout.decode() == "|".join(["14", *arguments]) + "\n"


def test_the_name_of_a_script_arrives_as_it_was_sent(proxied: Proxied) -> None:
    """It is in the path, which proxies like to decode and to write anew; it is signed."""
    proxied.mediator.script("echo (copy).py", ECHO)
    environment = {"MEDIATOR_URL": proxied.url, "MEDIATOR_CA_FILE": str(proxied.certificate)}

    def called() -> int:
        told = proxied.mediator.shim(
            *("--script", "echo (copy).py"), stdin=b"<ticket_info/>", environment=environment
        )
        return told.returncode

    eventually_true(lambda: called() != 78)  # until the new script is noticed
    assert called() == 0


def test_a_large_ticket_arrives_whole(proxied: Proxied) -> None:
    body = b"<ticket_info>" + b"x" * 15_000_000 + b"</ticket_info>"
    told = proxied.shim(body=body)
    assert told.returncode == 0, told.stderr
    assert told.stdout == f"{len(body)}\n".encode()


def test_without_openssl_or_curl_the_shim_says_what_it_needs(proxied: Proxied) -> None:
    bare = {"MEDIATOR_URL": proxied.url, "PATH": "/nowhere"}
    told = proxied.mediator.shim("echo", stdin=b"<ticket_info/>", environment=bare)
    assert told.returncode == 78
    assert b"https" in told.stderr


def test_an_unknown_certificate_is_refused(proxied: Proxied) -> None:
    told = proxied.mediator.shim(
        "echo",
        stdin=b"<ticket_info/>",
        environment={"MEDIATOR_URL": proxied.url},
    )
    assert told.returncode == 78
    assert b"the certificate of localhost" in told.stderr
