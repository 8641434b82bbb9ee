"""`mediator health`: whether the mediator of this machine is ready.

For health checks of containers. It needs no token, and tells no more than `/readyz` tells anybody.
"""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

import typer
from yarl import URL

from mediator.cli import options
from mediator.cli.failures import NOT_NOW, Failure
from mediator.cli.target import own_url
from mediator.settings.schema import Http

app = typer.Typer(add_completion=False)
_PATIENCE = 10.0
"""Seconds to answer; the mediator itself gives each of its parts five."""


@app.command(epilog="Example: mediator health --config /etc/mediator/mediator.yaml")
def health(*, config: options.Config = None) -> None:
    """Say whether the mediator here is ready, without a token.

    For health checks of containers and services. The exit code is 0 when it
    can take and do work, 1 when it cannot, and 75 when it does not answer.
    """
    wrong = _problems(health_url(options.settings(config).http))
    if wrong:
        raise Failure("not ready: " + "; ".join(f"{part}: {why}" for part, why in wrong.items()))
    print("ready")  # noqa: T201 - the command's output


def health_url(http: Http) -> URL:
    """Where a mediator with these settings tells its health. Raises `SettingsError` for port 0."""
    port = http.port if http.metrics_port is None else http.metrics_port
    return URL(own_url(http.model_copy(update={"port": port})))


def _problems(url: URL) -> dict[str, Any]:
    """What keeps it from working. Raises `Failure` when it does not say."""
    connection = HTTPConnection(url.host or "", url.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/readyz")
        found = json.loads(connection.getresponse().read())
        problems: dict[str, Any] = found["problems"]
    except (OSError, HTTPException) as error:
        raise Failure(f"no mediator answers at {url}: {error}", exit_code=NOT_NOW) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"what answers at {url} is no mediator", exit_code=NOT_NOW) from error
    finally:
        connection.close()
    return problems
