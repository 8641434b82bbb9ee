"""After many changes the catalog is what a fresh one would be."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mediator.catalog.files import Debounce
from mediator.catalog.loader import ScriptLoader, ScriptsDirectory
from mediator.catalog.script import Catalog
from tests.support.catalog import live, put, settings_in

SCRIPTS, CHANGES = 500, 50


def change(random_: random.Random, directory: Path) -> str:
    """Something that happens to one script; its name."""
    name = f"s{random_.randrange(SCRIPTS)}.sh"
    path = directory / name
    what = random_.choice(["put", "write", "break", "remove", "policy", "mode"])
    text = f"#!/bin/sh\nexit {random_.randrange(100)}\n"
    if what == "write":
        path.write_text(text)
    elif what == "break":
        put(directory, name, "#!/no/such\n")
    elif what == "remove":
        path.unlink(missing_ok=True)
    elif what == "policy":
        put(directory, f"{name}.toml", f'timeout = "{random_.randrange(1, 99)}s"\n', mode=0o644)
    elif what == "mode" and path.exists():
        path.chmod(random_.choice([0o644, 0o755]))
    else:
        put(directory, name, text)
    return name


@pytest.mark.usefixtures("no_task_left")
async def test_it_is_the_same_as_a_fresh_one(tmp_path: Path, scripts: Path) -> None:
    random_ = random.Random(7)  # noqa: S311 - the same changes every time
    for number in range(SCRIPTS):
        put(scripts, f"s{number}.sh")
    settings = settings_in(tmp_path)
    async with live(tmp_path) as there:
        for _ in range(CHANGES):
            change(random_, scripts)
            await there.scripts.look()

        def same() -> bool:
            fresh = ScriptsDirectory(settings=settings).load()
            return told(there.scripts.catalog) == told(fresh)

        await there.until(same)


def test_only_what_has_changed_is_read(tmp_path: Path, scripts: Path) -> None:
    random_ = random.Random(7)  # noqa: S311 - the same changes every time
    for number in range(SCRIPTS):
        put(scripts, f"s{number}.sh")
    loader = ScriptLoader(ScriptsDirectory(settings=settings_in(tmp_path)), Debounce(quiet=0))
    assert len(loader.scan().read) == SCRIPTS
    assert loader.scan().read == set()
    for _ in range(CHANGES):
        name = change(random_, scripts)
        assert loader.scan().read <= {name}
    loader.forget()
    assert loader.scan().read == set(loader.scan().catalog.scripts)


def told(catalog: Catalog) -> object:
    return catalog.scripts, catalog.others, catalog.warnings
