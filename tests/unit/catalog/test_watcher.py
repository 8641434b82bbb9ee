"""Which file systems are polled, because the kernel tells nothing of what others do there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediator.catalog import watcher

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv/share rw - nfs4 server:/share rw
31 22 0:41 / /srv/share/local rw shared:9 master:3 - tmpfs tmpfs rw
32 22 0:42 / /mnt/with\\040blank rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/srv/scripts", "ext4"),
        ("/srv/share/scripts", "nfs4"),
        ("/srv/share/local", "tmpfs"),
        ("/mnt/with blank/scripts", "fuse.sshfs"),
    ],
)
def test_the_deepest_mount_decides(directory: str, kind: str) -> None:
    assert watcher.file_system_of(Path(directory), MOUNTS) == kind


def test_a_local_directory_is_not_remote(tmp_path: Path) -> None:
    assert not watcher.is_remote(tmp_path)
