"""How long the console's pages take with a full store, beside the same pages of a nearly empty one.

    python tests/benchmarks/console.py [--deliveries 1000000] [--rounds 5] [--directory .]

Fills a store by SQL with deliveries of a month: forty scripts, one in a hundred dead, a few events
that are rare, two attempts for some. Then starts a mediator on it and times every page, the first
look and the median of the others. Prints milliseconds and the ratio to the nearly empty store; only
the ratios say something about another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mediator.storage.sqlite import SqliteStore
from tests.support.mediator import VIEWER, Client, Mediator
from tests.support.scripts import OK

SCRIPTS = 40
MONTH = 30 * 24 * 3600
MICROSECONDS = 10**6
BODY = b"<ticket_info><id>%d</id><subject>Access request %d</subject></ticket_info>" + b" " * 1500
DELIVERY = (
    "INSERT INTO deliveries (seq, id, script, event, arguments, variables, ticket_id, ticket,"
    " interactive, state, received, due, ended, key_id, idempotency_key, content, budget_start,"
    " attempts_made, failures, losses, last_error, stop_asked) VALUES"
    " (?, ?, ?, ?, '[\"Firewall change\"]', '{}', ?, ?, 0, ?, ?, ?, ?, 'securechange', ?, ?, ?,"
    " ?, 0, 0, ?, 0)"
)
ATTEMPT = (
    "INSERT INTO attempts (delivery, number, started, ended, outcome, exit_code, reason,"
    " stdout_head, stdout_tail, stdout_omitted, stderr_head, stderr_tail, stderr_omitted)"
    " VALUES (?, ?, ?, ?, ?, ?, '', ?, x'', 0, x'', x'', 0)"
)
PAGES = {
    "overview": "",
    "deliveries": "/deliveries",
    "... further back": "/deliveries?after={middle}",
    "... of one script": "/deliveries?script=script-07.sh",
    "... of a script, dead": "/deliveries?script=script-07.sh&state=dead",
    "... of one ticket": "/deliveries?ticket=4711",
    "... pending": "/deliveries?state=pending",
    "... dead": "/deliveries?state=dead",
    "... succeeded": "/deliveries?state=succeeded",
    "... cancelled (there are none)": "/deliveries?state=cancelled",
    "... of a rare event": "/deliveries?event=REOPEN",
    "... of an event there is not": "/deliveries?event=NEVER",
    "... of a script there is not": "/deliveries?script=no.sh",
    "... script and rare event": "/deliveries?script=script-07.sh&event=REOPEN",
    "... of the last hour": "/deliveries?since=1h",
    "... of the last hour, dead": "/deliveries?since=1h&state=dead",
    "... of an hour long ago": "/deliveries?since=481h&until=480h",
    "... dead, long ago": "/deliveries?since=490h&until=480h&state=dead",
    "... rare event, long ago": "/deliveries?until=480h&event=REOPEN",
    "one delivery": "/deliveries/{id}",
    "scripts": "/scripts",
    "one script": "/scripts/script-07.sh",
    "routes": "/routes",
}


def rows(count: int, now: int) -> Iterator[tuple[tuple[object, ...], tuple[object, ...]]]:
    step = MONTH * MICROSECONDS // count
    for seq in range(1, count + 1):
        received = now - (count - seq + 1) * step
        dead, pending = seq % 100 == 0, seq > count - 200
        state = "pending" if pending else "dead" if dead else "succeeded"
        ended = None if pending else received + 3 * MICROSECONDS
        event = "REOPEN" if seq % 50_000 == 0 else ("CREATE", "ADVANCE", "CLOSE")[seq % 3]
        name = f"{seq:08x}-0000-7000-8000-{seq:012x}"
        ticket = f'{{"id":"{seq // 4}","subject":"Access request {seq}","step":"Review"}}'
        yield (
            (
                seq, name, f"script-{seq * 7919 % SCRIPTS:02}.sh", event, str(seq // 4), ticket,
                state, received, now + MONTH * MICROSECONDS if pending else None, ended, name,
                seq.to_bytes(32, "big"), received, 0 if pending else 1,
                "ended with exit code 1; no attempt is left by the policy" if dead else "",
            ),
            (
                seq, 1, received, ended, "failed" if dead else "ok", int(dead),
                b"line of output\n" * 4,
            ),
        )  # fmt: skip


def fill(path: Path, count: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    now = int(datetime.now(UTC).timestamp() * MICROSECONDS)
    for delivery, attempt in rows(count, now):
        connection.execute(DELIVERY, delivery)
        seq = delivery[0]
        connection.execute("INSERT INTO tickets VALUES (?, ?)", (seq, BODY % (seq, seq)))
        if delivery[6] != "pending":
            connection.execute(ATTEMPT, attempt)
    connection.execute("COMMIT")
    connection.close()


async def make(home: Path, count: int) -> Mediator:
    mediator = Mediator(home, {"retention": {"most": 0}})
    for number in range(SCRIPTS):
        mediator.script(f"script-{number:02}.sh", OK)
    store = SqliteStore(home / "state" / "mediator.db")
    await store.start()
    await store.close()
    await asyncio.to_thread(fill, home / "state" / "mediator.db", count)
    return mediator


async def signed_in(client: Client) -> dict[str, str]:
    async with client.session.post(
        f"{client.url}/console/sign-in",
        data={"token": VIEWER, "next": "/console"},
        headers={"Sec-Fetch-Site": "same-origin"},
        allow_redirects=False,
    ) as response:
        assert response.status == 303, await response.text()
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


async def times(mediator: Mediator, count: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Page → milliseconds of the first look, and the median of the others."""
    found = {}
    numbers = {
        "middle": str(count // 2),
        "id": f"{count // 2:08x}-0000-7000-8000-{count // 2:012x}",
    }
    async with Client(mediator.url) as client:
        cookie = await signed_in(client)
        for name, path in PAGES.items():
            took = []
            for _ in range(rounds + 1):
                began = time.perf_counter()
                address = f"{mediator.url}/console{path.format(**numbers)}"
                async with client.session.get(address, headers=cookie) as response:
                    text = await response.text()
                    assert response.status == 200, f"{text}\n{mediator.log()[-3000:]}"
                took.append((time.perf_counter() - began) * 1000)
            if "There are older deliveries" in text:
                name += " (in part)"  # noqa: PLW2901 - its time was over
            found[name] = (took[0], statistics.median(took[1:]))
    return found


async def compare(directory: Path, *, deliveries: int, rounds: int) -> None:
    results = {}
    for count in (1000, deliveries):
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            began = time.perf_counter()
            mediator = await make(Path(scratch), count)
            print(f"{count} deliveries, filled in {time.perf_counter() - began:.0f} s")  # noqa: T201
            with mediator:
                results[count] = await times(mediator, count, rounds)
    small = list(results[1000].values())
    print(f"{'page':42} {'first':>8} {'then':>8}  ms; ratio to 1000 deliveries")  # noqa: T201
    for (name, (first, then)), (_, base) in zip(results[deliveries].items(), small, strict=True):
        print(f"{name:42} {first:8.0f} {then:8.0f}  {then / base:.1f}")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(compare(options.directory, deliveries=options.deliveries, rounds=options.rounds))


if __name__ == "__main__":
    main()
