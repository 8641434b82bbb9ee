"""Scripts in a ConfigMap, as the kubelet mounts and swaps them."""

from __future__ import annotations

from pathlib import Path

from mediator.catalog.loader import ScriptsDirectory
from mediator.settings.schema import Settings


def version(volume: Path, stamp: str, text: str) -> None:
    """One version of the volume: a directory, swapped in by renaming a link."""
    target = volume / f"..{stamp}"
    target.mkdir()
    (target / "notify.sh").write_text(text)
    (target / "notify.sh").chmod(0o755)
    (volume / "..data_tmp").symlink_to(target.name)
    (volume / "..data_tmp").rename(volume / "..data")


def test_the_links_of_a_config_map_work_and_a_swap_is_seen(tmp_path: Path) -> None:
    version(tmp_path, "2026_01_01_00_00_00.1", "#!/bin/sh\nexit 0\n")
    (tmp_path / "notify.sh").symlink_to("..data/notify.sh")
    settings = Settings.model_validate({"scripts": {"directory": tmp_path}})
    reader = ScriptsDirectory(settings=settings)
    first = reader.load()
    assert first.ready("notify").path == tmp_path / "notify.sh"
    assert list(first.scripts) == ["notify.sh"]
    assert first.warnings == ()

    version(tmp_path, "2026_01_01_00_00_00.2", "#!/no/such\n")
    assert "/no/such does not exist" in reader.load().find("notify").problem
