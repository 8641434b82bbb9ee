"""What proving a request costs, beside the bare HMAC that nobody can save.

    python tests/benchmarks/signatures.py [--calls 2000] [--rounds 7]

Signs, verifies, and refuses requests in alternating rounds, and prints the median time of one call
in microseconds and its ratio to an HMAC-SHA-256 over the same signature base. Only the ratios say
something about another machine. The last lines are the worst that a stranger was found to cause.
"""

from __future__ import annotations

import argparse
import hmac
import json
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mediator.errors import Unauthenticated
from mediator.model.signatures import Key, Verifier, check_body, sign

VECTOR = json.loads((Path(__file__).parents[1] / "samples" / "signature_vector.json").read_text())
KEY = Key(id=VECTOR["key_id"], secret=VECTOR["secret"].encode())
NOW = datetime.fromtimestamp(VECTOR["now"], UTC)
BASE = VECTOR["signature_base"].encode()
HEADERS: Mapping[str, str] = VECTOR["headers"]
VERIFIER = Verifier([KEY], window=timedelta(seconds=300))
BODY = b"x" * 2048


def bare_hmac() -> None:
    hmac.digest(KEY.secret, BASE, "sha256")


def verify(headers: Mapping[str, str] = HEADERS) -> None:
    VERIFIER.verify(method="POST", target=VECTOR["target"], headers=headers, now=NOW)


def refuse(**changed: str) -> Callable[[], None]:
    headers = {**HEADERS, **{name.replace("_", "-"): text for name, text in changed.items()}}

    def once() -> None:
        with suppress(Unauthenticated):
            verify(headers)

    return once


def sign_once() -> None:
    sign(
        method="POST",
        target=VECTOR["target"],
        body=BODY,
        key=KEY,
        idempotency_key="abc",
        now=NOW,
        nonce="n",
    )


def compare_body() -> None:
    with suppress(Unauthenticated):
        check_body(bytes(32), BODY)


CALLS: Mapping[str, Callable[[], None]] = {
    "bare HMAC": bare_hmac,
    "verify": verify,
    "verify, wrong secret": refuse(Signature="mediator=:AAAA:"),
    "verify, no signature": refuse(Signature=""),
    "compare a body of 2 kB": compare_body,
    "sign, with a body of 2 kB": sign_once,
    "worst: 4 kB of components": refuse(Signature_Input="a=(" + '"x" ' * 1_000 + ")"),
    "worst: 4 kB of members": refuse(Signature_Input=",".join(f"a{n}" for n in range(700))),
}


def microseconds(call: Callable[[], None], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in CALLS}
    for _ in range(asked.rounds):
        for name, call in CALLS.items():
            calls = max(1, asked.calls // 50) if name.startswith("worst") else asked.calls
            times[name].append(microseconds(call, calls))
    bare = statistics.median(times["bare HMAC"])
    print(f"{'':28}{'µs':>10}{'ratio':>9}")  # noqa: T201 - a program
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:28}{median:10.1f}{median / bare:9.1f}")  # noqa: T201 - a program


if __name__ == "__main__":
    main()
