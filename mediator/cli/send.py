"""`mediator send`: hand a ticket to a running mediator, signed, as the shim would."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any
from urllib.parse import quote

import typer
import uuid_utils
from yarl import URL

from mediator.cli import options
from mediator.cli.client import Answer, connect
from mediator.cli.failures import FAILED, NOT_ALLOWED, NOT_NOW, Failure
from mediator.cli.output import AsJson, say, show_json, write_streams
from mediator.cli.target import Target, find_url
from mediator.clock import SystemClock
from mediator.errors import SettingsError
from mediator.model.signatures import Key, sign
from mediator.settings.schema import SigningKey
from mediator.settings.secrets import read_secret

_LONGEST_ANSWER = 3600.0
"""Seconds; the mediator gives up before, by the script's timeout."""
_ON_TOP = 60.0
"""Seconds, beyond what the mediator is asked to wait."""

app = typer.Typer(add_completion=False)
KeyId = Annotated[
    str | None,
    typer.Option(
        "--key-id",
        metavar="ID",
        envvar="MEDIATOR_KEY_ID",
        help="Key to sign with; by default the first of auth.keys that may open the script.",
        show_default=False,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        envvar="MEDIATOR_KEY_FILE",
        help="File with its secret; by default the one the settings name.",
        show_default=False,
    ),
]
Idempotency = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="The same one again is the same delivery; by default a new one.",
        show_default=False,
    ),
]
Wait = Annotated[
    int | None,
    typer.Option(
        "--wait",
        min=0,
        metavar="SECONDS",
        help="Wait so long for the end, of triggers too, and answer as the script does.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Handover:
    """One signed request; its parts are what is signed."""

    script: str
    query: str
    body: bytes
    key: Key
    idempotency_key: str
    wait: int | None
    as_json: bool

    def headers(self, target: str) -> dict[str, str]:
        """All headers, for the request target as it is sent."""
        headers = sign(
            method="POST",
            target=target,
            body=self.body,
            key=self.key,
            idempotency_key=self.idempotency_key,
            now=SystemClock().now(),
            nonce=uuid_utils.uuid4().hex,
        )
        headers["Content-Type"] = "application/octet-stream"
        if self.wait is not None:
            headers["Prefer"] = f"wait={self.wait}"
        if self.as_json:
            headers["Accept"] = "application/json"
        return headers


@app.command(
    epilog="Example: mediator send notify --ticket ticket.xml --event ADVANCE -- --verbose"
)
def send(  # noqa: PLR0913 - one parameter an option
    script: options.ScriptName,
    arguments: options.Arguments = None,
    *,
    ticket: options.TicketFile = None,
    event: options.Event = "CREATE",
    variables: options.Variables = None,
    key_id: KeyId = None,
    key_file: KeyFile = None,
    idempotency_key: Idempotency = None,
    wait: Wait = None,
    as_json: AsJson = False,
    url: options.Url = None,
    ca_file: options.CaFile = None,
    config: options.Config = None,
) -> None:
    """Hand a ticket to a running mediator, signed, as the shim would.

    Prints the id of the delivery. When the mediator answers with the end of
    the script, because it is interactive or by --wait, its output is passed on
    and its exit code is the one of this command.
    """
    handover = Handover(
        script=script,
        query=options.query_of(event, variables, arguments),
        body=options.read_ticket_file(ticket),
        key=find_key(config, script, key_id=key_id, key_file=key_file),
        idempotency_key=idempotency_key or uuid_utils.uuid4().hex,
        wait=wait,
        as_json=as_json,
    )
    target = Target(url=find_url(config, url), ca_file=ca_file)
    answer = asyncio.run(_send(target, handover))
    raise typer.Exit(_told(answer, handover))


def find_key(config: Path | None, script: str, *, key_id: str | None, key_file: Path | None) -> Key:
    """The key that the options name, else one of the settings. Raises `SettingsError`."""
    if key_file is not None and key_id is not None:
        return Key(id=key_id, secret=_secret(key_file, "--key-file"))
    if key_file is not None:
        message = "its id is not known: give --key-id, or MEDIATOR_KEY_ID, too"
        raise typer.BadParameter(message, param_hint="--key-file")
    position, found = _chosen(options.settings(config).auth.keys, script, key_id)
    return Key(id=found.id, secret=_secret(found.secret_file, f"auth.keys[{position}].secret_file"))


def _chosen(keys: Iterable[SigningKey], script: str, key_id: str | None) -> tuple[int, SigningKey]:
    for position, key in enumerate(keys):
        if key.id == key_id or (key_id is None and _opens(key, script)):
            return position, key
    if key_id is not None:
        raise SettingsError(f"auth.keys of the settings has no key {key_id}; give --key-file too.")
    raise Failure(
        f"no key in auth.keys of the settings may open {script}; give --key-id and --key-file.",
        exit_code=NOT_ALLOWED,
    )


def _opens(key: SigningKey, script: str) -> bool:
    """Scripts are exact file names there, and the mediator takes names without suffix too."""
    names = key.scripts
    return names is None or script in names or script in {PurePath(name).stem for name in names}


def _secret(path: Path, key: str) -> bytes:
    return read_secret(path, key=key).reveal().encode()


async def _send(target: Target, handover: Handover) -> Answer:
    path = f"/v1/scripts/{quote(handover.script, safe='')}/deliveries"
    sent = f"{path}?{handover.query}" if handover.query else path
    signed = URL(target.url + sent, encoded=True).raw_path_qs  # a proxy's prefix is signed too
    async with connect(target) as mediator:
        return await mediator.exchange(
            "POST",
            sent,
            headers=handover.headers(signed),
            body=handover.body,
            seconds=_LONGEST_ANSWER if handover.wait is None else handover.wait + _ON_TOP,
        )


def _told(answer: Answer, handover: Handover) -> int:
    """Tell what came of it; the exit code."""
    if answer.status == 202:
        return _accepted(answer.document(), handover)
    if handover.as_json:
        document = answer.document()
        show_json(document)
        return _code(document["attempts"][-1])
    length = int(answer.header("Mediator-Stdout-Length"))
    code = int(answer.header("Mediator-Exit-Code"))
    write_streams(answer.body[:length], answer.body[length:])
    say(f"delivery {answer.header('Mediator-Delivery')}, exit code {code}")
    return code


def _accepted(document: dict[str, Any], handover: Handover) -> int:
    delivery_id, duplicate = document["delivery"], document["duplicate"]
    if handover.as_json:
        show_json(document)
    else:
        print(delivery_id)  # noqa: T201 - the output
    if duplicate:
        say("a duplicate: the same content was handed over before and is not run again")
    if handover.wait is None:
        return 0
    say(f"it has not ended within {handover.wait} s; it is kept, and goes on")
    return NOT_NOW


def _code(attempt: dict[str, Any]) -> int:
    code = attempt["exit_code"]
    if code is None:
        return 128 + attempt["signal"] if attempt["signal"] else FAILED
    return int(code)
