"""`mediator new`: a script that works, with a ticket to try it on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mediator.cli import options
from mediator.cli.failures import Failure
from mediator.cli.printing import say
from mediator.cli.skeleton import Language, Skeleton, language_of
from mediator.model.kinds import Kind

app = typer.Typer(add_completion=False)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Its file name; without a suffix it gets one.")
]
OfKind = Annotated[
    Kind, typer.Option("--kind", "-k", help="What SecureChange expects of the script.")
]
InLanguage = Annotated[
    Language | None,
    typer.Option(
        "--language", help="What it is written in; by default by the suffix, else Python."
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        metavar="DIR",
        help="Where it is put; by default scripts.directory of the settings.",
        show_default=False,
    ),
]


@app.command(epilog="Example: mediator new decide --kind condition")
def new(
    name: Name,
    *,
    kind: OfKind = Kind.TRIGGER,
    language: InLanguage = None,
    directory: Directory = None,
    config: options.Config = None,
) -> None:
    """Write a script that works, and a ticket to try it on.

    It reads what SecureChange sends to its kind and answers as its kind must;
    comments say what to change. Nothing that is there is written over. Ends
    with the next three commands to type.
    """
    file_name, written_in = language_of(name, language)
    place = directory or options.settings(config).scripts.directory
    skeleton = Skeleton(name=file_name, kind=kind, language=written_in)
    script = place / skeleton.name
    sample = place / skeleton.sample_name
    _refuse_same_stem(script)
    place.mkdir(parents=True, exist_ok=True)
    _write(script, skeleton.text(), mode=0o755)
    if sample.exists():
        say(f"{sample} is there already, and stays as it is")
    else:
        _write(sample, skeleton.sample(), mode=0o644)
    _tell(skeleton, script, sample, own_config=config)


def _refuse_same_stem(script: Path) -> None:
    """SecureChange calls a script without its suffix, and two of one name are ambiguous."""
    for other in sorted(script.parent.glob(f"{script.stem}.*")):
        if other.suffix in {".py", ".sh", ".bash"} and other.name != script.name:
            raise Failure(
                f"{other} is there already: the name {script.stem} would be ambiguous."
                " Choose another."
            )


def _write(path: Path, text: str, *, mode: int) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        path.chmod(mode)  # whatever the umask is: every user of the machine may read and run it
    except FileExistsError as error:
        raise Failure(f"{path} is there already; nothing was written over.") from error
    except OSError as error:
        raise Failure(f"{path} cannot be written ({error.strerror}).") from error


def _tell(skeleton: Skeleton, script: Path, sample: Path, *, own_config: Path | None) -> None:
    config = [] if own_config is None else ["--config", str(own_config)]
    ticket = ["--ticket", _short(sample), *skeleton.call]
    arguments = ["--", *skeleton.arguments] if skeleton.arguments else []
    print(f"{_short(script)}: a {skeleton.kind} script")  # noqa: T201 - this is the output
    print(f"{_short(sample)}: a ticket to try it on\n")  # noqa: T201
    for comment, words in (
        ("what is wrong with it", ["check", *config, script.name]),
        ("run it once, as in production", ["run", *config, script.name, *ticket, *arguments]),
        ("run it whenever you save it", ["watch", *config, script.name, *ticket, *arguments]),
    ):
        print(f"# {comment}\nmediator {shlex.join(words)}")  # noqa: T201


def _short(path: Path) -> str:
    """As seen from here, if it is below."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
