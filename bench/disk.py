"""A disk of the engines' own: a fresh ext4 file system in a file, on a loop device.

What a file costs depends on the disk's past. An ext4 without a journal, for one, takes twenty times as long to create a
file where others were removed a moment ago, and each round of a bench removes what it has made. On a fresh one with a
journal, as machines have them, both engines find the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = 48 << 30
_NEEDED = 12 << 30


@contextmanager
def fresh_disk() -> Iterator[Path]:
    """Mount one and yield where; yield /tmp where this host cannot, and say why."""
    top = Path(tempfile.mkdtemp(prefix="bench-disk-", dir="/var/tmp"))
    try:
        missing = [one for one in ("mkfs.ext4", "losetup", "mount") if shutil.which(one) is None]
        if missing or not Path("/dev/loop-control").exists() or shutil.disk_usage(top).free < _NEEDED:
            reason = f"no {missing[0]}" if missing else "no loop devices, or too little room in /var/tmp"
            print(f"bench: no disk of its own ({reason}): figures depend on what was on /tmp before\n")
            yield Path("/tmp")
            return
        with _mounted(top) as mount:
            yield mount
    finally:
        shutil.rmtree(top)


@contextmanager
def _mounted(top: Path) -> Iterator[Path]:
    file, mount = top / "disk", top / "mount"
    file.touch()
    os.truncate(file, _SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", file], check=True)
    mount.mkdir()
    attach = ["losetup", "--find", "--show", "--direct-io=on", file]
    device = subprocess.run(attach, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    try:
        subprocess.run(["mount", device, mount], check=True)
        try:
            yield mount
        finally:
            subprocess.run(["umount", mount], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
