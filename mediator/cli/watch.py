"""`mediator watch`: runs a script again whenever it is saved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import typer

from mediator import logs
from mediator.catalog.files import Debounce, Fingerprint, fingerprint
from mediator.catalog.loader import ScriptsDirectory
from mediator.catalog.script_file import SIDECAR
from mediator.cli import options
from mediator.cli.failures import USAGE, Failure
from mediator.cli.output import say
from mediator.cli.trial import Foreground, PassThrough, Trial, foreground
from mediator.errors import MediatorError
from mediator.settings.schema import LogLevel
from mediator.web.request import read_query

_LOOK = 0.1
"""Seconds between two looks at the files: a few calls of stat(2), also on a network disk."""
_GRACE = 2.0
"""Seconds a running attempt has to end at most, when there is something newer to run."""
_INTERRUPTED = 130

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: mediator watch notify.py --ticket notify.sample.xml --event ADVANCE")
def watch(
    script: options.ScriptName,
    arguments: options.Arguments = None,
    *,
    ticket: options.TicketFile = None,
    event: options.Event = "CREATE",
    variables: options.Variables = None,
    config: options.Config = None,
) -> None:
    """Run a script as run does, and again whenever it is saved.

    It is run again also when its policy file, the ticket or a module beside it
    changes. What still runs then is stopped first. Ctrl-C ends it.
    """
    if ticket == "-":
        sentence = "--ticket: watch reads the ticket again each time; name a file."
        raise Failure(sentence, exit_code=USAGE)
    loaded = options.settings(config)
    logs.configure(level=LogLevel.ERROR, as_json=False)
    call = read_query(options.query_of(event, variables, arguments))
    asyncio.run(_watch(Trial(settings=loaded, name=script, call=call, ticket=ticket)))
    raise typer.Exit(_INTERRUPTED)


async def _watch(trial: Trial) -> None:
    name = options.script_named(await asyncio.to_thread(_directory(trial).load), trial.name).name
    files = TrialFiles(trial=trial, name=name)
    async with foreground() as here:
        watcher = _FileWatcher(files)
        looking = asyncio.create_task(watcher.run(), name="look for changes")
        try:
            while not here.stopped.is_set():
                await _round(trial, here, watcher)
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


async def _round(trial: Trial, here: Foreground, watcher: _FileWatcher) -> None:
    """One attempt, to its end or until there is something newer; then wait for that."""
    watcher.due.clear()
    pass_through = PassThrough()
    print(f"── {datetime.now().astimezone():%H:%M:%S} {trial.name} ", flush=True)  # noqa: T201
    making = asyncio.create_task(_make(trial, here, pass_through), name="attempt")
    changed = asyncio.create_task(watcher.due.wait(), name="changed")
    stopped = asyncio.create_task(here.stopped.wait(), name="stopped")
    await asyncio.wait({making, changed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    pass_through.stop.set()
    await making
    pass_through.refuse_unread()
    await asyncio.wait({changed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (changed, stopped):
        task.cancel()


async def _make(trial: Trial, here: Foreground, pass_through: PassThrough) -> None:
    """One attempt; what stops it before it begins is told, and may be mended by the next save."""
    try:
        prepared = await trial.prepared()
        run = replace(prepared.run, grace=min(prepared.run.grace, _GRACE))
        report = await replace(prepared, run=run).make(here, pass_through=pass_through)
    except MediatorError as error:
        say(str(error))
    else:
        say(f"{prepared.script.name}: {report.sentence}")


def _directory(trial: Trial) -> ScriptsDirectory:
    return ScriptsDirectory(settings=trial.settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialFiles:
    """The files on which a run depends."""

    trial: Trial
    name: str
    """of the script"""

    def look(self) -> Mapping[str, Fingerprint]:
        """Each of them as it is now."""
        with suppress(OSError):
            return {str(path): fingerprint(path) for path in self._paths()}
        return {}

    def _paths(self) -> Iterator[Path]:
        directory = self.trial.settings.scripts.directory
        yield directory / self.name
        yield directory / (self.name + SIDECAR)
        if self.trial.ticket is not None:
            yield Path(self.trial.ticket)
        for path in directory.iterdir():
            if path.is_dir() and (path / "__init__.py").exists():
                yield from path.rglob("*.py")
            elif path.suffix == ".py" and not path.name.startswith("."):
                yield path


class _FileWatcher:
    """Sets `due` when a file has changed and was then left alone for a moment."""

    def __init__(self, files: TrialFiles) -> None:
        self.due = asyncio.Event()
        self._files = files
        self._debounce = Debounce()
        self._before = files.look()  # before anything is run, so that no save is overlooked
        self._debounce.recent(self._before)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            now = await asyncio.to_thread(self._files.look)
            if not self._debounce.recent(now) and now != self._before:
                self._before = now
                self.due.set()
